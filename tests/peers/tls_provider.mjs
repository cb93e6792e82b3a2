// A provider behind TLS that speaks HTTP/2, in front of one that does not:
//   node tls_provider.mjs KEY CERTIFICATE TARGET
// Says its address, and of each connection and request which protocol it speaks.

import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createSecureServer } from "node:http2";

const [key, certificate, target] = process.argv.slice(2);
const OF_A_CONNECTION = ["connection", "keep-alive", "transfer-encoding", "host"];

const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate), allowHTTP1: true });
server.on("secureConnection", (socket) => console.log(`connection ${socket.alpnProtocol}`));
server.on("request", (asked, answer) => {
  console.log(`request ${asked.httpVersion} ${asked.url}`);
  const headers = Object.entries(asked.headers).filter(([name]) => !name.startsWith(":") && !OF_A_CONNECTION.includes(name));
  const onward = request(new URL(asked.url, target), { method: asked.method, headers: Object.fromEntries(headers) });
  onward.on("response", (came) => {
    const kept = Object.entries(came.headers).filter(([name]) => !OF_A_CONNECTION.includes(name));
    answer.writeHead(came.statusCode, Object.fromEntries(kept));
    came.pipe(answer);
  });
  onward.on("error", (error) => {
    console.log(`failed ${error.message}`);
    answer.stream ? answer.stream.close() : answer.destroy();
  });
  asked.pipe(onward);
});
server.listen(0, "127.0.0.1", () => console.log(`listening on https://127.0.0.1:${server.address().port}`));
