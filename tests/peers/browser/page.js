// What a page does with the service: each function of `window.page` is one check, and throws what is wrong.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AssistantService } from "./assistant/v1/assistant_service_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./google/rpc/error_details_pb.js";

const equal = (actual, expected) => {
  const [left, right] = [actual, expected].map((value) => JSON.stringify(value));
  if (left !== right) throw new Error(`${left} is not ${right}`);
};

const failure = async (promise) => {
  const outcome = await promise.then((value) => ({ value }), (error) => ({ error }));
  if (!("error" in outcome)) throw new Error("it succeeded");
  return outcome.error;
};

const client = (url) => createClient(AssistantService, createGrpcWebTransport({ baseUrl: url }));

const post = (url, body, headers = {}) =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

/** The lines of a response's body, as they come. */
async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const complete = (text + value).split("\n");
    text = complete.pop();
    for (const line of complete) yield JSON.parse(line);
  }
  equal(text, "");
}

const checks = {
  async "gRPC-Web: a message"({ service }) {
    const answer = await client(service).chat({ message: "what is 6 * 7?" });
    equal(answer.response, "The tool answered: Result: 42");
  },

  async "gRPC-Web: a stream"({ service }) {
    let text = "";
    const events = [];
    for await (const event of client(service).streamChat({ message: "echo over the web" })) {
      if (event.payload.case === "textDelta") text += event.payload.value.text;
      events.push(event);
    }
    equal(text, "The tool answered: Echo: over the web");
    equal(events.map((event) => Number(event.sequence)), events.map((_, place) => place + 1));
    equal(events.at(-1).payload.case, "runCompleted");
  },

  async "gRPC-Web: an error with its details"({ service }) {
    const error = ConnectError.from(await failure(client(service).chat({})));
    equal(error.code, Code.InvalidArgument);
    equal(error.findDetails(ErrorInfoSchema).map((info) => [info.domain, info.reason]), [["assistd", "VALIDATION_FAILED"]]);
    equal(error.findDetails(BadRequestSchema)[0].fieldViolations.map((one) => one.field), ["message"]);
  },

  async "gRPC-Web: a stream that is called off"({ service }) {
    const leaving = new AbortController();
    let run;
    const watching = async () => {
      for await (const event of client(service).streamChat({ message: "never answer" }, { signal: leaving.signal })) {
        run = event.run;
        leaving.abort();
      }
    };
    equal(ConnectError.from(await failure(watching())).code, Code.Canceled);
    // The service noticed: its run is called off too, and a watcher sees it end.
    const watch = await fetch(`${service}/v1/${run}:watch`, { headers: { accept: "application/x-ndjson" } });
    let last;
    for await (const event of lines(watch)) last = event;
    equal("runCancelled" in last, true);
  },

  async "JSON: an answer and an error"({ service }) {
    const answer = await post(`${service}/v1/chat`, { message: "echo hi" }, { "x-server-timeout": "20" });
    equal([answer.status, (await answer.json()).response], [200, "The tool answered: Echo: hi"]);
    equal(answer.headers.has("x-request-id"), true);
    const refused = await post(`${service}/v1/chat`, {});
    const { error } = await refused.json();
    equal([refused.status, error.status, error.details[0].reason], [400, "INVALID_ARGUMENT", "VALIDATION_FAILED"]);
    const gone = await fetch(`${service}/v1/threads/thread_0`, { method: "DELETE" });
    equal(gone.status, 404);
  },

  async "JSON: a stream of lines"({ service }) {
    const response = await post(`${service}/v1/chat:stream`, { message: "tell a story" }, { accept: "application/x-ndjson" });
    let text = "";
    let last;
    const arrivals = [];
    for await (const event of lines(response)) {
      if (event.textDelta) {
        text += event.textDelta.text;
        arrivals.push(performance.now());
      }
      last = event;
    }
    equal(text.split(" ").length, 31);
    equal("runCompleted" in last, true);
    // It takes seconds to be told, and nobody held it back until its end.
    equal(arrivals.at(-1) - arrivals[0] > 1000, true);
  },

  async "server-sent events: a watch over a connection that breaks"({ service, breaking }) {
    const thread = await (await post(`${service}/v1/threads`, {})).json();
    await post(`${service}/v1/${thread.name}/messages`, { content: [{ text: "tell a story" }] });
    const run = await (await post(`${service}/v1/${thread.name}/runs`, {})).json();
    const kinds = ["run_state_changed", "message_created", "text_delta", "message_completed", "usage_updated", "run_completed"];
    const told = await new Promise((resolve, reject) => {
      const events = [];
      const source = new EventSource(`${breaking}/v1/${run.name}:watch`);
      const end = (then, value) => {
        source.close();
        then(value);
      };
      source.onmessage = (event) => end(reject, new Error(`an event without a name: ${event.data}`));
      source.onerror = () => source.readyState === EventSource.CLOSED && end(reject, new Error("it gave up"));
      for (const kind of kinds) {
        source.addEventListener(kind, (event) => {
          events.push({ id: event.lastEventId, ...JSON.parse(event.data) });
          if (kind === "run_completed") end(resolve, events);
        });
      }
    });
    equal(told.map((event) => event.id), told.map((_, place) => String(place + 1)));
    equal(told.map((event) => event.id), told.map((event) => event.sequence));
    const text = told.map((event) => event.textDelta?.text ?? "").join("");
    equal(text.split(" ").length, 31);
    document.querySelector("#story").textContent = text;
  },
};

/** Asks with the page's credentials. Throws when the browser does not let the page see the answer. */
const withCredentials = async (url) => (await fetch(`${url}/v1/health`, { credentials: "include" })).status;

const check = async (name, urls) => {
  await checks[name](urls);
  const item = document.createElement("li");
  item.textContent = name;
  document.querySelector("#done").append(item);
};

window.page = { names: Object.keys(checks), check, withCredentials };
