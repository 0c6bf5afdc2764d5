"""Serves a directory over HTTP for the tests of image lists: imagelist.py DIRECTORY LOG PORT_FILE

Ranges are served, as by any web server. Each request is a line in LOG: its path and its range. A path that
begins with /slow/ comes at 1 MiB a second; of one that begins with /stuck/ comes a half, unless a range is asked for.
"""

import http.server
import os
import re
import sys
import time

DIRECTORY, LOG, PORT_FILE = sys.argv[1:4]
BLOCK = 64 * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range", "")
        with open(LOG, "a", encoding="ascii") as log:
            log.write(f"{self.path} {asked} {self.headers.get('Authorization', '')}\n")
        pace = self.path.split("/")[1]
        path = os.path.join(DIRECTORY, os.path.basename(self.path))
        try:
            with open(path, "rb") as file:
                self.send_file(file, asked, pace)
        except FileNotFoundError:
            self.send_error(404)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_file(self, file, asked, pace):
        size = os.fstat(file.fileno()).st_size
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        start = int(match.group(1)) if match else 0
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(size - start))
        if match:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        file.seek(start)
        while data := file.read(BLOCK):
            self.wfile.write(data)
            if pace == "slow":
                time.sleep(BLOCK / 2**20)
            if pace == "stuck" and not match and file.tell() >= size / 2:
                time.sleep(120)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(PORT_FILE + ".new", "w", encoding="ascii") as port_file:
    port_file.write(str(server.server_port))
os.rename(PORT_FILE + ".new", PORT_FILE)
server.serve_forever()
