"""What the tests of identities do that is no matter of a command line: identity.py WHAT ARGUMENT..."""

import http.client
import json
import ssl
import sys


def ask(connection, method, path):
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def hold(port, ca, certificate, key):
    """Asks on one connection, once at the start and once for each line of stdin; prints each status."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    connection = http.client.HTTPSConnection("localhost", int(port), timeout=20, context=context)
    connection.connect()
    socket = connection.sock
    print(ask(connection, "GET", "/v1/whoami")[0], flush=True)
    for _ in sys.stdin:
        status, answer = ask(connection, "GET", "/v1/whoami")
        assert connection.sock is socket, "the connection is another one"
        print(status, answer.get("error", ""), flush=True)


{"hold": hold}[sys.argv[1]](*sys.argv[2:])
