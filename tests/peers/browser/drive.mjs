// Opens pages in Chromium and says what it saw: node drive.mjs '{"chromium", "pictures", "page", "stranger", "service", …}'
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const places = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: places.chromium,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

/** A fresh page, and what it does that it may not. */
const open = async (url) => {
  const page = await browser.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`error: ${error}`));
  page.on("console", (message) => message.type() === "error" && wrong.push(`console: ${message.text()}`));
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== "data:" && hostname !== new URL(url).hostname && hostname !== "127.0.0.1") wrong.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, wrong };
};

// The browser itself reports answers that are errors, and connections that break.
const isMeant = (text) => /status of 40[04]|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_(RESET|CLOSED)|ERR_EMPTY_RESPONSE/.test(text);

{
  const { page, wrong } = await open(places.page);
  for (const name of await page.evaluate(() => window.page.names)) {
    await page.evaluate(([name, places]) => window.page.check(name, places), [name, places]);
    console.log(`seen: ${name}`);
  }
  await page.screenshot({ path: `${places.pictures}/page.png`, fullPage: true });
  assert.deepEqual(wrong.filter((text) => !isMeant(text)), []);
  const status = await page.evaluate((url) => window.page.withCredentials(url), places.listing);
  assert.equal(status, 200);
}

{
  const { page, wrong } = await open(places.stranger);
  const refused = await page.evaluate((url) => window.page.withCredentials(url).catch(String), places.listing);
  assert.equal(refused, "TypeError: Failed to fetch");
  assert.match(wrong.join(), /blocked by CORS policy/);
  console.log("seen: a page of an origin that is not listed is kept out");
}

{
  const { page, wrong } = await open(`${places.service}/docs`);
  await page.waitForSelector("details.op");
  const document = await (await fetch(`${places.service}/openapi.json`)).json();
  const routes = Object.values(document.paths).flatMap(Object.values);
  assert.equal(await page.locator("details.op").count(), routes.length);
  const tools = page.locator("details.op", { has: page.locator("summary code", { hasText: /^\/v1\/tools$/ }) });
  await tools.locator("summary").first().click();
  await tools.getByRole("button", { name: "Send" }).click();
  await tools.locator("pre", { hasText: "tools/calculate" }).waitFor();
  await page.screenshot({ path: `${places.pictures}/docs.png` });
  // One value with a comma is one value; the service refuses it, as one that it did not give.
  await tools.getByLabel("pageToken").fill("a,b");
  const [request] = await Promise.all([
    page.waitForRequest((request) => request.url().includes("pageToken")),
    tools.getByRole("button", { name: "Send" }).click(),
  ]);
  assert.deepEqual(new URL(request.url()).searchParams.getAll("pageToken"), ["a,b"]);
  await tools.locator("pre", { hasText: "INVALID_ARGUMENT" }).waitFor();
  assert.deepEqual(wrong.filter((text) => !isMeant(text)), []);
  console.log("seen: the description, and a request made from it");
}

await browser.close();
