// The CloudEvents SDK and the Standard Webhooks verifier of npm, against Hob. See ../README.md.
import http from "node:http";
import { createRequire } from "node:module";

// Its packages are installed under target/interop, not beside this file.
const require = createRequire(process.env.INTEROP_NODE_MODULES);
const { CloudEvent, HTTP } = require("cloudevents");
const { Webhook } = require("standardwebhooks");

const say = (line) => console.log(JSON.stringify(line));

function eventOf(one, id) {
  const attributes = { ...one.attributes, id };
  if (one.data_base64 !== undefined) return new CloudEvent({ ...attributes, data: new Uint8Array(Buffer.from(one.data_base64, "base64")) });
  return new CloudEvent({ ...attributes, ...(one.data === undefined ? {} : { data: one.data }) });
}

async function publish({ api, token, run, cases }) {
  const post = async (topic, headers, body) => {
    const answer = await fetch(`${api}/v1/topics/${topic}/events`, { method: "POST", headers: { ...headers, authorization: `Bearer ${token}` }, body });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  for (const [n, one] of cases.entries()) {
    for (const mode of ["structured", "binary", "batch"]) {
      const id = `${run}-${n}-${mode}`;
      const event = eventOf(one, id);
      try {
        let answer;
        if (mode === "batch") {
          answer = await post(one.topic, { "content-type": "application/cloudevents-batch+json" }, JSON.stringify([event]));
        } else {
          const { headers, body } = mode === "structured" ? HTTP.structured(event) : HTTP.binary(event);
          answer = await post(one.topic, headers, body);
        }
        say({ case: n, mode, id, sequence: answer.first });
      } catch (error) {
        say({ case: n, mode, id, error: String(error) });
      }
    }
  }
}

function receive({ port, secrets }) {
  const hooks = Object.fromEntries(Object.entries(secrets).map(([mode, secret]) => [mode, new Webhook(secret)]));
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const mode = request.url.slice(1);
      const body = Buffer.concat(chunks);
      let verified = true;
      try {
        // As a Buffer it would be read as text anyway: bytes that are no text cannot be verified with this library.
        if (body.equals(Buffer.from(body.toString()))) hooks[mode].verify(body.toString(), request.headers, { jsonParse: false });
        else verified = "this verifier takes texts only";
      } catch (error) {
        verified = String(error);
      }
      try {
        const isText = !/octet-stream/.test(request.headers["content-type"] ?? "");
        const parsed = HTTP.toEvent({ headers: request.headers, body: isText ? body.toString() : body });
        for (const event of [parsed].flat()) {
          const { data, data_base64, ...attributes } = event.toJSON();
          if (data_base64 !== undefined) say({ mode, verified, attributes, data_base64 });
          else if (Buffer.isBuffer(data) || data instanceof Uint8Array) say({ mode, verified, attributes, data_base64: Buffer.from(data).toString("base64") });
          else say({ mode, verified, attributes, data });
        }
      } catch (error) {
        say({ mode, verified, error: String(error), body: body.toString() });
      }
      response.writeHead(204).end();
    });
  });
  server.listen(port, "127.0.0.1");
}

({ publish, receive })[process.argv[2]](JSON.parse(process.argv[3]));
