#!/usr/bin/env python3
"""watch.py COMMAND...: runs a command and prints seconds, seconds of CPU, peak memory (of its largest process) and the peak
of anonymous memory, which belongs to no file, of all its processes together (looked at 50 times a second).  Needs nothing but Python."""
import os, resource, subprocess, sys, threading, time


def processes(pid):
    yield pid
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in f.read().split():
                    yield from processes(int(child))
    except OSError:
        pass


def anonymous(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon:"))
    except (OSError, StopIteration):
        return 0


class Result:
    pass


def watch(args, **how):
    r, done = Result(), threading.Event()
    r.anon, cpu = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    p = subprocess.Popen(args, **how)

    def look():
        while not done.wait(0.02):
            r.anon = max(r.anon, sum(map(anonymous, processes(p.pid))))

    t = threading.Thread(target=look)
    t.start()
    _, status, use = os.wait4(p.pid, 0)
    r.seconds = time.monotonic() - start
    done.set()
    t.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    r.status, r.peak = os.waitstatus_to_exitcode(status), use.ru_maxrss * 1024
    r.cpu = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return r


if __name__ == "__main__":
    r = watch(sys.argv[1:])
    print(f"{r.seconds:.2f} s, {r.cpu:.2f} s of CPU, peak {r.peak / 1e6:.0f} MB, anonymous {r.anon / 1e6:.0f} MB", file=sys.stderr)
    sys.exit(r.status)
