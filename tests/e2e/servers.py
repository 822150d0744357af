# SPDX-License-Identifier: Apache-2.0
"""Real servers as processes in a pod's namespace."""
import os
import socket

import peers
from harness import eventually

NGINX_CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen {port};
		listen [::]:{port} ipv6only=on;
		{location}
	}}
}}
"""


class Nginx:
    """`GET /` says the server's name and the client's address, or serves files of `root`."""

    def __init__(self, node, ns, name, port, root=None):
        self.dir = os.path.join(node.dir, f"nginx-{name}-{port}")
        os.makedirs(self.dir, exist_ok=True)
        location = f"root {root};" if root else \
            f'location / {{ return 200 "{name} $remote_addr\\n"; }}'
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX_CONF.format(dir=self.dir, port=port, location=location))
        self.process = node.popen(ns, "nginx", "-c", conf, "-p", self.dir, "-e", f"{self.dir}/error.log")

        def listening():
            with peers.tcp_socket(ns, "127.0.0.1") as s:
                s.connect(("127.0.0.1", port))
                return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        eventually(listening, f"nginx {name} listens")

    def close(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
