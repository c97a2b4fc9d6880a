"""What the interop tests share: TAP lines, the folder with real data, packages that may be missing."""
import importlib, os, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get('QZ_SHARED', os.path.join(ROOT, '..', 'shared'))
BIN = os.path.join(ROOT, 'build', 'bin')
os.environ['PATH'] = BIN + os.pathsep + os.environ['PATH']
os.environ['TORCHDYNAMO_DISABLE'] = '1'
os.environ['HF_HUB_OFFLINE'] = '1'
count = bad = 0


def ok(condition, name):
    global count, bad
    count += 1
    bad += not condition
    print('%sok %d - %s' % ('' if condition else 'not ', count, name), flush=True)
    return condition


def need(*packages):
    """The packages as modules; without one of them, or without the data, the whole file is skipped."""
    if not os.path.isdir(os.path.join(SHARED, 'models', 'stories260k')):
        skip_all('no models/stories260k in ' + SHARED)
    modules = []
    for package in packages:
        try:
            modules.append(importlib.import_module(package))
        except ImportError as e:
            skip_all('no package %s (%s)' % (package, e))
    return modules[0] if len(modules) == 1 else modules


def skip_all(why):
    print('1..0 # SKIP ' + why)
    sys.exit(0)


def shared(*parts):
    return os.path.join(SHARED, *parts)


def qz(*args):
    """Runs a tool; a failure is a failed case with the tool's words."""
    r = subprocess.run(args, stderr=subprocess.PIPE, text=True)
    if not ok(r.returncode == 0, ' '.join(os.path.basename(a) for a in args)):
        print('# ' + r.stderr.strip())
    return r.returncode == 0


def done():
    print('1..%d' % count)
    sys.exit(1 if bad else 0)
