"""What the tests of the controller do that is no matter of a command line: controller.py WHAT SOCKET ..."""

import http.client
import json
import os
import socket
import sys
import time
import uuid

import jsonschema


class Local(http.client.HTTPConnection):
    """HTTP on the controller's socket, as the user who runs this."""

    def __init__(self, path, timeout=20):
        super().__init__("controller", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def raw(path, timeout=20):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(path)
    return connection


class Api:
    """Asks, and holds each answer against the published document."""

    def __init__(self, path):
        self.path = path
        self.document = self.ask("GET", "/v1/openapi.json")[1]

    def ask(self, method, path, body=None, headers=None):
        connection = Local(self.path)
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return answer.status, json.loads(text) if is_json and text else text, answer.headers

    def find(self, method, path):
        parts = path.split("?")[0].split("/")
        for template, operations in self.document["paths"].items():
            wanted = template.split("/")
            if len(parts) == len(wanted) and all(w == p or w.startswith("{") for w, p in zip(wanted, parts)):
                if method.lower() in operations:
                    return operations[method.lower()]
        raise AssertionError(f"{method} {path} is not published")

    def resolve(self, thing):
        while "$ref" in thing:
            target = self.document
            for part in thing["$ref"].split("/")[1:]:
                target = target[part]
            thing = target
        return thing

    def check(self, method, path, body=None, headers=None, status=None):
        """Asks, and returns the answer; fails if it is not as published."""
        got, answer, fields = self.ask(method, path, body, headers)
        if status is not None:
            assert got == status, f"{method} {path}: {got} instead of {status}: {answer}"
        responses = self.find(method, path)["responses"]
        response = self.resolve(responses.get(str(got)) or responses.get(f"{got // 100}XX") or responses["default"])
        if got == 204:
            assert not answer, answer
            return None
        kind = (fields["Content-Type"] or "").split(";")[0]
        contents = {key.split(";")[0]: value for key, value in response["content"].items()}
        assert kind in contents, f"{method} {path}: {kind} is not among {list(contents)}"
        if kind == "application/json":
            schema = dict(plain(contents[kind]["schema"]), components=plain(self.document["components"]))
            jsonschema.Draft4Validator(schema).validate(answer)
        for name in response.get("headers", {}):
            assert fields[name], f"{method} {path}: there is no {name}"
        return answer


def plain(schema):
    """OpenAPI 3.0's `nullable` as JSON Schema says it."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: plain(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    return result


def document(path):
    api = Api(path)
    assert api.document["openapi"].startswith("3.0.")
    names = set()

    def walk(thing):
        if isinstance(thing, dict):
            if "$ref" in thing:
                api.resolve(thing)
            for value in thing.values():
                walk(value)
        elif isinstance(thing, list):
            for value in thing:
                walk(value)

    walk(api.document)
    for schema in api.document["components"]["schemas"].values():
        jsonschema.Draft4Validator.check_schema(plain(schema))
    for path, operations in api.document["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"] not in names, operation["operationId"]
            names.add(operation["operationId"])
            assert operation["summary"] and operation["responses"]
            declared = {api.resolve(p)["name"] for p in operation["parameters"] if api.resolve(p)["in"] == "path"}
            assert declared == {p[1:-1] for p in path.split("/") if p.startswith("{")}, path
            assert method != "get" or "requestBody" not in operation, path
    print(f"{len(names)} operations")


POOL = {
    "vlan": 7, "domain": "example.org", "host_pattern": "wn-%04d", "first_address": "10.1.0.10", "size": 5,
    "prefix": 24, "gateway": "10.1.0.1", "nameservers": ["10.1.0.2"], "mac_prefix": "52:54:01",
}


def answers(path):
    api = Api(path)
    lease = str(uuid.uuid4())
    api.check("PUT", "/v1/groups/blue", {"description": "a group"})
    api.check("PUT", "/v1/pools/p", POOL)
    api.check("PUT", "/v1/pools/p", POOL, status=200)
    api.check("PUT", "/v1/pools/p", dict(POOL, size=0), status=400)
    api.check("PUT", f"/v1/leases/{lease}", {"pool": "p", "user": "alice"})
    again = api.check("PUT", f"/v1/leases/{lease}", {"pool": "p", "user": "alice"})
    assert again["id"] == lease, again
    api.check("PUT", "/v1/leases/nonsense", {"pool": "p"})
    api.check("DELETE", "/v1/pools/p", status=409)
    api.check("PUT", "/v1/configuration/site", {"text": "[run]\ncpus = 2\n"})
    api.check("PUT", "/v1/configuration/site", {"text": "nonsense"}, {"If-Match": "*"}, status=400)
    api.check("PUT", f"/v1/tokens/{uuid.uuid4()}", {"kind": "join", "lifetime_s": 600}, status=201)
    api.check("PUT", f"/v1/roles/{uuid.uuid4()}",
              {"subject": "user:alice", "role": "administrator", "hostgroup": "blue"}, status=201)
    # All that can be listed, and of each list the first thing on its own.
    for template in [t for t in api.document["paths"] if "get" in api.document["paths"][t] and "{" not in t]:
        answer = api.check("GET", template)
        one = [t for t in api.document["paths"]
               if t.startswith(template + "/{") and t.count("/") == template.count("/") + 1]
        if isinstance(answer, dict) and answer.get("items") and one and "get" in api.document["paths"][one[0]]:
            key = next(iter(answer["items"][0].values()))
            row = api.check("GET", f"{template}/{key}", status=200)
            assert row == answer["items"][0], (row, answer["items"][0])
    api.check("GET", "/v1/nodes/none", status=404)
    api.check("DELETE", f"/v1/leases/{lease}")
    api.check("DELETE", "/v1/pools/p")
    api.check("DELETE", "/v1/groups/blue")
    assert api.check("GET", "/v1/events?limit=1000")["items"]


MALFORMED = [
    b"\r\n\r\n", b"\0\0\0\0", b"GET\r\n\r\n", b"GET /healthz\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/nodes/%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/nodes/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/nodes/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://other/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/nodes?" + b"a=1&" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10000 + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"A" * 40 + b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nhello",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nhello",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
]

# Where two readers may see another end of the request: refused, and nothing behind it is read.
SMUGGLED = b"DELETE /v1/groups/kept HTTP/1.1\r\nHost: x\r\n\r\n"
TWO_ENDS = [
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
]


def read_all(connection):
    text = b""
    try:
        while data := connection.recv(65536):
            text += data
    except (ConnectionError, socket.timeout):
        pass
    return text


def malformed(path):
    api = Api(path)
    api.check("PUT", "/v1/groups/kept", {"description": "stays"})
    for request in MALFORMED:
        connection = raw(path, 1)
        try:
            connection.sendall(request)
        except ConnectionError:
            pass
        answer = read_all(connection)
        # What is not refused is asked for in a way that is allowed, and nothing of it comes back as it was.
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4", b"HTTP/1.1 100")) \
            or (request.startswith(b"GET") and b"200 OK" in answer), (request[:100], answer[:200])
        assert b"<script" not in answer
        connection.close()
    for request in TWO_ENDS:
        connection = raw(path, 2)
        connection.sendall(request + SMUGGLED)
        answer = read_all(connection)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), (request, answer[:200])
        assert answer.count(b"HTTP/1.1 ") == 1, (request, answer)
        connection.close()
    api.check("GET", "/v1/groups/kept", status=200)


def is_quick(path, limit):
    start = time.monotonic()
    connection = Local(path)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    took = time.monotonic() - start
    assert took < limit, f"took {took:.1f} s"


def is_closed(connection, within):
    connection.settimeout(within)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except socket.timeout:
        return False
    return True


def idle(path, host, port, count):
    connections = []
    for i in range(int(count)):
        connections.append(socket.create_connection((host, int(port))))
        if i % 2 == 0:
            connections.append(raw(path))
            connections[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    for _ in range(20):
        is_quick(path, 2)
    # They are sent away in time.
    assert all(is_closed(connection, 15) for connection in connections)


def slow(path):
    sender, reader, keeper = raw(path), raw(path), raw(path)
    keeper.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert keeper.recv(4096).startswith(b"HTTP/1.1 200")
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    reader.settimeout(1)
    try:
        reader.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    except socket.timeout:
        pass
    sender.sendall(b"PUT /v1/groups/g HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    start, ended = time.monotonic(), None
    while time.monotonic() - start < 10 and ended is None:
        try:
            sender.sendall(b"x")
        except ConnectionError:
            ended = time.monotonic() - start
        is_quick(path, 2)
        time.sleep(0.3)
    assert ended is not None and ended < 8, ended
    assert is_closed(keeper, 10) and is_closed(reader, 10)


def half_hello(pid, host, port):
    """Clients that stop in the middle of their first message cost no processor time."""
    def cpu_s():
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    clients = [socket.create_connection((host, int(port)), 20) for _ in range(20)]
    for client in clients:
        client.sendall(bytes.fromhex("160301020001"))
    time.sleep(1)
    before = cpu_s()
    time.sleep(3)
    assert cpu_s() - before < 0.1, f"{cpu_s() - before:.2f} s of 3"


def limit(path, host, port, count):
    many = [socket.create_connection((host, int(port))) for _ in range(int(count) * 2)]
    closed = sum(is_closed(connection, 0.2) for connection in many)
    assert closed >= int(count), closed
    many = [raw(path) for _ in range(int(count) + 5)]
    closed = sum(is_closed(connection, 0.2) for connection in many)
    assert closed >= 5, closed


def writes(path, mark):
    """Makes groups until the controller is gone, and prints those of which it has said so."""
    try:
        connection = Local(path)
        for i in range(100000):
            name = f"g{mark}-{i}"
            connection.request("PUT", f"/v1/groups/{name}", '{"description":"x"}',
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status in (200, 201):
                print(name, flush=True)
            elif answer.status == 503:
                return
    except (OSError, http.client.HTTPException):
        pass


if __name__ == "__main__":
    {function.__name__: function for function in
     (document, answers, malformed, idle, slow, half_hello, limit, writes)}[sys.argv[1]](*sys.argv[2:])
