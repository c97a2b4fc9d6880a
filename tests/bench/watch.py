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


def memory(pid):
    """Anonymous bytes now, and all bytes at their peak; ru_maxrss would count the parent before exec()."""
    try:
        with open(f"/proc/{pid}/status") as f:
            rows = dict(line.split(":", 1) for line in f if line.startswith(("RssAnon:", "VmHWM:")))
        return [int(rows[k].split()[0]) * 1024 for k in ("RssAnon", "VmHWM")]
    except (OSError, KeyError):
        return [0, 0]


class Result:
    pass


def watch(args, **how):
    r, done = Result(), threading.Event()
    r.anon, r.peak, cpu = 0, 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    p = subprocess.Popen(args, **how)

    def look():
        while not done.wait(0.02):
            all_of = [memory(x) for x in processes(p.pid)]
            r.anon = max(r.anon, sum(m[0] for m in all_of))
            r.peak = max(r.peak, max(m[1] for m in all_of))

    t = threading.Thread(target=look)
    t.start()
    _, status = os.waitpid(p.pid, 0)
    r.seconds = time.monotonic() - start
    done.set()
    t.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    r.status = os.waitstatus_to_exitcode(status)
    r.cpu = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return r


if __name__ == "__main__":
    r = watch(sys.argv[1:])
    print(f"{r.seconds:.2f} s, {r.cpu:.2f} s of CPU, peak {r.peak / 1e6:.0f} MB, anonymous {r.anon / 1e6:.0f} MB", file=sys.stderr)
    sys.exit(r.status)
