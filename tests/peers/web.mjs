// Talks gRPC-Web to the service as a page would: node check.mjs URL
import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AssistantService } from "./assistant/v1/assistant_service_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./google/rpc/error_details_pb.js";

const client = createClient(AssistantService, createGrpcWebTransport({ baseUrl: process.argv[2] }));

const answer = await client.chat({ message: "what is 6 * 7?" });
assert.equal(answer.response, "The tool answered: Result: 42");

let text = "";
let last;
for await (const event of client.streamChat({ message: "echo over the web" })) {
  if (event.payload.case === "textDelta") text += event.payload.value.text;
  last = event;
}
assert.equal(text, "The tool answered: Echo: over the web");
assert.equal(last.payload.case, "runCompleted");

const error = await client.chat({}).then(() => assert.fail("it succeeded"), ConnectError.from);
assert.equal(error.code, Code.InvalidArgument);
assert.equal(error.findDetails(ErrorInfoSchema)[0].reason, "VALIDATION_FAILED");
assert.equal(error.findDetails(BadRequestSchema)[0].fieldViolations[0].field, "message");

console.log("unary, stream, binary errors: fine");
