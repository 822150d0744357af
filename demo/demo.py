#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bpfnet's main job, shown: a node, pods, a service with real web servers, and its flows.

Everything lives in network namespaces whose names begin with `bpfnet-demo<pid>`; the machine's
own network is not touched, and all of it is removed at the end, also on Ctrl-C. Every step prints
the command that it runs and what that command said.
"""
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get("BPFNET_BUILD", "build")
ID = f"bpfnet-demo{os.getpid()}"
NODE, WORLD = f"{ID}-node", f"{ID}-world"
PODS = {"client": 10, "web-1": 11, "web-2": 12, "web-3": 13}
VIPS = ("10.96.0.80", "[fd00:96::80]")
BPFFS = "/sys/fs/bpf"
NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/log;
events {{}}
http {{
	access_log off;
	client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
	uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
	server {{
		listen 8080; listen [::]:8080;
		location / {{ return 200 "Hello $remote_addr, this is {name}.\\n"; }}
	}}
}}
"""

tty = sys.stdout.isatty()
lock = threading.Lock()


def colour(code, text):
    return f"\033[{code}m{text}\033[0m" if tty else text


def say(text=""):
    with lock:
        print(text, flush=True)


class Demo:
    def __init__(self):
        self.dir = f"/tmp/{ID}"
        os.mkdir(self.dir, 0o700)
        self.processes = []
        self.cgroup = None
        self.daemon = []
        self.run_dir = f"{self.dir}/run"

    # -------------------------------------------------------------- running
    @staticmethod
    def quiet(*command, **kw):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **kw)

    def shown(self, line):
        """The command as one would type it, short paths and names in place of ours."""
        for long, short in ((f"{ROOT}/", ""), (f"bpfnet --run-dir {self.run_dir}", "bpfnet"),
                            (f"{ID}-", ""), (ID, "demo")):
            line = line.replace(long, short)
        return line

    def show(self, *command, check=True):
        """Print the command, run it, print what it says."""
        line = shlex.join(map(str, command))
        say(colour("1;36", "$ " + self.shown(line)))
        r = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for out in r.stdout.splitlines():
            say("  " + self.shown(out))
        if check and r.returncode:
            raise RuntimeError(f"{self.shown(line)}: exit code {r.returncode}")
        return r

    def bpfnet(self, *args, **kw):
        return self.show(f"{ROOT}/{BUILD}/bpfnet", "--run-dir", self.run_dir, *args, **kw)

    def spawn(self, netns, *command, **kw):
        p = subprocess.Popen(["nsenter", f"--net=/run/netns/{netns}", *command], **kw)
        self.processes.append(p)
        return p

    def in_pod(self, pod, *command, **kw):
        return self.show("nsenter", f"--net=/run/netns/{ID}-{pod}", *command, **kw)

    @staticmethod
    def step(title):
        say()
        say(colour("1", f"--- {title}"))

    # ---------------------------------------------------------------- steps
    def build_node(self):
        """A namespace with an uplink to the outside, as a fresh machine has it."""
        for ns in (NODE, WORLD, *(f"{ID}-{pod}" for pod in PODS)):
            self.quiet("ip", "netns", "add", ns)
            self.quiet("ip", "-n", ns, "link", "set", "lo", "up")
        self.quiet("ip", "link", "add", "up0", "netns", NODE, "type", "veth", "peer", "name", "w0",
                   "netns", WORLD)
        for ns, dev, v4, v6 in ((NODE, "up0", "172.31.0.2/24", "fd00:31::2/64"),
                                (WORLD, "w0", "172.31.0.1/24", "fd00:31::1/64")):
            self.quiet("ip", "-n", ns, "link", "set", dev, "up")
            self.quiet("ip", "-n", ns, "addr", "add", v4, "dev", dev)
            self.quiet("ip", "-n", ns, "addr", "add", v6, "dev", dev, "nodad")
        self.quiet("ip", "-n", NODE, "route", "add", "default", "via", "172.31.0.1")
        self.quiet("ip", "-n", NODE, "route", "add", "default", "via", "fd00:31::1")
        self.quiet("nsenter", f"--net=/run/netns/{NODE}", "sysctl", "-qw", "net.ipv4.ip_forward=1",
                   "net.ipv6.conf.all.forwarding=1")
        if not os.path.ismount(BPFFS):
            self.quiet("mount", "-t", "bpf", "bpf", BPFFS)
        self.make_cgroup()

    def make_cgroup(self):
        """The pods' processes get a cgroup of their own, as a container runtime gives them."""
        with open("/proc/mounts") as f:
            roots = [line.split()[1] for line in f if line.split()[2] == "cgroup2"]
        if not roots:
            return
        with open("/proc/self/cgroup") as f:
            own = next(line for line in f if line.startswith("0::")).strip()[3:]
        self.home = os.path.join(roots[0], own.lstrip("/"))
        cgroup = os.path.join(roots[0], ID)
        os.mkdir(cgroup)
        self.cgroup = cgroup
        self.join(cgroup)

    @staticmethod
    def join(cgroup):
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))

    def start_agent(self):
        self.daemon = [f"{ROOT}/{BUILD}/bpfnetd", "--run-dir", self.run_dir, "--state-dir",
                       f"{self.dir}/state", "--bpffs", f"{BPFFS}/{ID}", "--node-name", "demo-node",
                       "--cgroup", self.cgroup or "none", "--service-cidr", "10.96.0.0/16",
                       "--service-cidr", "fd00:96::/108", "--pod-cidr", "10.244.0.0/16",
                       "--pod-cidr", "fd00:244::/64"]
        say(colour("1;36", "$ " + self.shown(
            shlex.join(["nsenter", f"--net=/run/netns/{NODE}", *self.daemon])) + " &"))
        with open(f"{self.dir}/bpfnetd.log", "a") as log:
            self.agent = self.spawn(NODE, *self.daemon, stdout=log, stderr=log)
        status = [f"{ROOT}/{BUILD}/bpfnet", "--run-dir", self.run_dir, "status"]
        deadline = time.monotonic() + 30
        while subprocess.run(status, capture_output=True).returncode == 1:
            if self.agent.poll() is not None or time.monotonic() > deadline:
                with open(f"{self.dir}/bpfnetd.log") as log:
                    raise RuntimeError("bpfnetd did not start:\n" + log.read()[-3000:])
            time.sleep(0.05)

    def add_pods(self):
        for pod, number in PODS.items():
            self.bpfnet("endpoint", "add", f"default/{pod}", "--netns", f"{ID}-{pod}",
                        "--ip", f"10.244.0.{number}", "--ip", f"fd00:244::{number}")

    def start_servers(self):
        for pod in PODS:
            if not pod.startswith("web"):
                continue
            folder = f"{self.dir}/{pod}"
            os.mkdir(folder)
            with open(f"{folder}/nginx.conf", "w") as f:
                f.write(NGINX.format(dir=folder, name=pod))
            self.spawn(f"{ID}-{pod}", "nginx", "-c", f"{folder}/nginx.conf", "-p", folder, "-e",
                       f"{folder}/log")
            deadline = time.monotonic() + 10
            while not os.path.exists(f"{folder}/pid"):  # written once it listens
                if time.monotonic() > deadline:
                    raise RuntimeError(f"nginx of {pod} did not start")
                time.sleep(0.02)

    def follow_flows(self):
        p = subprocess.Popen([f"{ROOT}/{BUILD}/bpfnet", "--run-dir", self.run_dir, "flows", "-f"],
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(p)

        def copy():
            for line in p.stdout:
                say(colour("33", "  | " + line.rstrip()))
        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        return p, thread

    def run(self):
        self.step("A node: a network namespace with an uplink, and bpfnetd in it")
        self.build_node()
        self.start_agent()
        self.bpfnet("status", check=False)

        self.step("Pods: network namespaces, attached by one command each")
        self.add_pods()
        self.start_servers()

        self.step("A service for the three web servers, as Kubernetes writes it")
        self.bpfnet("apply", "-f", f"{ROOT}/demo/web.yaml")
        self.bpfnet("svc", "list")
        self.bpfnet("endpoint", "list")

        self.step("HTTP through its ClusterIP, IPv4 and IPv6; 'bpfnet flows -f' tells as it happens")
        say(colour("1;36", f"$ {BUILD}/bpfnet flows -f &"))
        viewer, thread = self.follow_flows()
        for i in range(6):
            self.in_pod("client", "curl", "-sS", "-g", "--max-time", "5", f"http://{VIPS[i % 2]}/")
            time.sleep(0.3)  # for the eye: the viewer's lines beside the request they belong to
        viewer.send_signal(signal.SIGINT)
        viewer.wait(5)
        thread.join(5)

        self.step("The same flows from the record, as a table and as JSON")
        self.bpfnet("flows", "--last", "6", "--verdict", "FORWARDED")
        self.bpfnet("-o", "json", "flows", "--last", "1", "--verdict", "FORWARDED")

        self.step("A service without backends refuses at once, and says why")
        self.in_pod("client", "curl", "-sS", "--max-time", "5", "http://10.96.0.81/", check=False)
        self.bpfnet("flows", "--last", "1", "--verdict", "DROPPED")

        self.step("The agent is killed: connections go on, because the datapath is the kernel's")
        say(colour("1;36", "$ kill -9 bpfnetd"))
        self.agent.kill()
        self.agent.wait()
        self.in_pod("client", "curl", "-sS", "--max-time", "5", f"http://{VIPS[0]}/")
        self.start_agent()
        self.bpfnet("svc", "list")

    # ------------------------------------------------------------- clean-up
    def close(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.daemon:
            self.step("And all of it is taken away again")
            line = ["nsenter", f"--net=/run/netns/{NODE}", *self.daemon, "--uninstall"]
            say(colour("1;36", "$ " + self.shown(shlex.join(line))))
            with open(f"{self.dir}/bpfnetd.log", "a") as log:
                subprocess.run(line, stdout=log, stderr=log, timeout=30)
        for p in self.processes:
            if p.poll() is None:
                p.terminate()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for ns in (NODE, WORLD, *(f"{ID}-{pod}" for pod in PODS)):
            if os.path.exists(f"/run/netns/{ns}"):
                subprocess.run(["ip", "netns", "del", ns])
        if self.cgroup:
            self.join(self.home)
            os.rmdir(self.cgroup)
        shutil.rmtree(f"{BPFFS}/{ID}", ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    if os.geteuid() != 0:
        sys.exit("demo: namespaces and BPF need root: run 'sudo make demo'")
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        sys.exit("demo: this kernel has no BTF (/sys/kernel/btf/vmlinux)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo()
    code = 0
    try:
        demo.run()
    except KeyboardInterrupt:
        say("\ninterrupted")
        code = 130
    except (RuntimeError, subprocess.SubprocessError, OSError) as e:
        say(f"demo: {e}")
        try:
            with open(f"{demo.dir}/bpfnetd.log") as log:
                say("bpfnetd said last:\n" + log.read()[-2000:])
        except OSError:
            pass
        code = 1
    finally:
        demo.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
