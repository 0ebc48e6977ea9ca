"""The CloudEvents SDK and the Standard Webhooks verifier of PyPI, against Hob. See ../README.md."""

import base64
import json
import sys
import threading
import urllib.error
import urllib.request
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook


SPEAKING = threading.Lock()


def say(**line):
    with SPEAKING:
        print(json.dumps(line), flush=True)


def event_of(case, event_id):
    attributes = dict(case["attributes"], id=event_id, specversion="1.0")
    # The SDK takes extensions as texts only, and times as times.
    attributes = {k: str(v) if k == "attempt" else v for k, v in attributes.items()}
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"].replace("Z", "+00:00").replace(".25", ".250000"))
    data = base64.b64decode(case["data_base64"]) if "data_base64" in case else case.get("data")
    return CloudEvent(attributes, data)


def publish(api, token, run, cases):
    def post(topic, headers, body):
        headers = dict(headers, authorization=f"Bearer {token}")
        request = urllib.request.Request(f"{api}/v1/topics/{topic}/events", body, headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    for n, case in enumerate(cases):
        for mode in ("structured", "binary", "batch"):
            event_id = f"{run}-{n}-{mode}"
            event = event_of(case, event_id)
            try:
                if mode == "batch":
                    body = b"[" + JSONFormat().write(event) + b"]"
                    answer = post(case["topic"], {"content-type": "application/cloudevents-batch+json"}, body)
                else:
                    message = to_structured_event(event) if mode == "structured" else to_binary_event(event)
                    answer = post(case["topic"], message.headers, message.body)
                say(case=n, mode=mode, id=event_id, sequence=answer["first"])
            except urllib.error.HTTPError as error:
                say(case=n, mode=mode, id=event_id, error=f"{error.code} {error.read().decode()}")


def receive(port, secrets):
    hooks = {mode: Webhook(secret) for mode, secret in secrets.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            mode = self.path.strip("/")
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            verified = verify(hooks[mode], body, headers)
            try:
                for event in parse(mode, headers, body):
                    say(mode=mode, verified=verified, **event)
            except Exception as error:
                say(mode=mode, verified=verified, error=repr(error), body=repr(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def verify(hook, body, headers):
    try:
        body.decode()
    except UnicodeDecodeError:
        return "this verifier takes texts only"
    try:
        hook.verify(body, headers, json_parse=False)
        return True
    except Exception as error:
        return repr(error)


def parse(mode, headers, body):
    if mode == "batch":
        events = [JSONFormat().read(CloudEvent, json.dumps(one).encode()) for one in json.loads(body)]
    else:
        events = [from_http_event(HTTPMessage(headers=headers, body=body))]
    for event in events:
        times = {k: v.isoformat() for k, v in event.get_attributes().items() if isinstance(v, datetime)}
        attributes = {**event.get_attributes(), **times}
        data = event.get_data()
        key, value = ("data_base64", base64.b64encode(data).decode()) if isinstance(data, bytes) else ("data", data)
        yield {"attributes": attributes, key: value}


{"publish": publish, "receive": receive}[sys.argv[1]](**json.loads(sys.argv[2]))
