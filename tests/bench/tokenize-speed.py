#!/usr/bin/env python3
"""tokenize-speed.py [SHARED]: MB/s of text to ids, qz beside tokenizers, sentencepiece and tiktoken, and whole programs.

The texts are made from what a Debian machine has: 20 MB of English from its manual pages, 20 MB of source code and of
Chinese, Japanese and Korean translations; no line comes twice; and 20 MB of "fresh" words, none of which comes twice:
drawn from the letter triples of the English ones, so that no cache of words helps anyone.  They are cut into documents of
about 2 KB.  Tokenizers
are those under SHARED/models (default ../shared).  Every program has the documents in memory as it wants them, runs
on the same machine in turns, RUNS=5 times after one that does not count; figures are the median and (least to most).
Ids must be equal: they are compared by their number and digest.  Peers come from PyPI: tokenizers, sentencepiece,
tiktoken, xxhash.  THREADS="1 2".  Programs: qz-tokenize beside a script with encode_batch, JSON lines to ids in a file.
Then what it takes to start (one line of input, from the folder and from a model shard), and the memory for 1 GB of JSON
lines, from a file and from a pipe.  ONLY=mistral runs what has the word in its line's first two columns; MB=20 is the size
of each text.  CLOCK=cpu counts the processor's time instead of the clock's: for one thread, on a machine with others."""
import base64, collections, glob, gzip, json, os, random, re, statistics, struct, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] != "--peer" else os.environ.get("QZ_SHARED", "../shared")
RUNS = int(os.environ.get("RUNS", "5"))
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
SIZE = int(os.environ.get("MB", "20")) << 20
WORK = os.path.join(ROOT, "build", "bench", "%dMB" % (SIZE >> 20))
clock = time.process_time if os.environ.get("CLOCK") == "cpu" else time.perf_counter
DRIVER = os.path.join(ROOT, "build", "tests", "bench", "tokenize-speed")


# ---- texts

def take(lines, seen, size):
    """Lines that did not come before, up to so many bytes."""
    out, n = [], 0
    for line in lines:
        key = line.strip()
        if len(key) > 3 and key in seen:
            continue
        seen.add(key)
        out.append(line)
        n += len(line.encode())
        if n >= size:
            break
    return out


def read(path):
    data = gzip.open(path).read() if path.endswith(".gz") else open(path, "rb").read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return []
    return [] if "\0" in text else text.splitlines(True)


def manual(path):
    """A page's prose: without requests and font changes."""
    for line in read(path):
        if not line.startswith((".", "'", "\\")):
            yield re.sub(r"\\(f.|-|&|\(..|\*\(..|s[-+]?\d)", lambda m: "-" if m[0] == "\\-" else "", line)


def translations(path):
    """The second table of a .mo file: the translated messages."""
    data = open(path, "rb").read()
    magic, _, n, _, at = struct.unpack_from("<5I", data)
    for i in range(n if magic == 0x950412DE else 0):
        size, where = struct.unpack_from("<2I", data, at + 8 * i)
        try:
            yield data[where : where + size].decode().replace("\0", "\n") + "\n"
        except UnicodeDecodeError:
            return


def many(reader, *patterns):
    for p in patterns:
        for f in sorted(glob.glob(p, recursive=True)):
            if os.path.isfile(f):
                yield from reader(f)


def docs(lines):
    """Documents of about 2 KB."""
    out, doc, n = [], [], 0
    for line in lines:
        doc.append(line)
        n += len(line)
        if n >= 2000:
            out.append("".join(doc))
            doc, n = [], 0
    return out


def fresh(words, size):
    """Lines of words that come once each, letter by letter as in these words."""
    after, rng, seen, n = collections.defaultdict(str), random.Random(1), set(), 0
    for w in sorted(words):
        for i in range(len(w) + 1):
            after[("^^" + w)[i : i + 2]] += (w + "$")[i]
    while n < size:
        line = []
        while len(line) < 10:
            w = "^^"
            while w[-1] != "$" and len(w) < 24:
                w += rng.choice(after[w[-2:]])
            w = w[2:].rstrip("$")
            if w not in seen and len(w) > 1:
                seen.add(w)
                line.append(w)
        n += len(" ".join(line)) + 2
        yield " ".join(line) + ".\n"


def make_texts():
    os.makedirs(WORK, exist_ok=True)
    names = ["english", "mixed", "fresh"]
    if not all(os.path.exists(os.path.join(WORK, n + ".txt0")) for n in names):
        english = take(many(manual, "/usr/share/man/man*/*.gz"), set(), SIZE)
        seen = set()
        cjk = take(many(translations, *("/usr/share/locale/%s/LC_MESSAGES/*.mo" % l for l in ("zh_CN", "ja", "ko", "zh_TW"))), seen, SIZE // 2)
        code = take(many(read, "/usr/include/**/*.h", "/usr/lib/python3*/**/*.py"), seen, SIZE - sum(len(l.encode()) for l in cjk))
        a, b = docs(code), docs(cjk)
        both = [d for i in range(max(len(a), len(b))) for d in a[i : i + 1] + b[i : i + 1]]
        words = set(re.findall("[a-z]+|[A-Z][a-z]+", "".join(english)))
        for name, texts in (("english", docs(english)), ("mixed", both), ("fresh", docs(fresh(words, SIZE)))):
            with open(os.path.join(WORK, name + ".jsonl"), "w") as f:
                f.writelines(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
            with open(os.path.join(WORK, name + ".txt0"), "w", newline="") as f:
                f.writelines(t + "\0" for t in texts)
    return names


# ---- peers: each prints what the driver prints

def digest(lists):
    import numpy, xxhash
    ids = numpy.concatenate([numpy.asarray(l, dtype="<u4") for l in lists])
    return len(ids), xxhash.xxh3_64_hexdigest(ids.tobytes())


def byte_ranks(j):
    """The tokens of a byte-level tokenizer.json as bytes, and their ids."""
    printable = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xFF and b != 0xAD]
    others = [b for b in range(256) if b not in printable]
    byte = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    return {bytes(byte[c] for c in t): i for t, i in j["model"]["vocab"].items()}


def tiktoken_of(path):
    """A byte-level tokenizer.json as tiktoken wants it, or None."""
    import tiktoken
    j = json.load(open(path))
    pre = j["pre_tokenizer"]
    if j["model"]["type"] != "BPE" or not pre or pre.get("type") != "Sequence" or "Regex" not in str(pre):
        return None
    # tiktoken merges by rank of the result; so do these models' ids.
    pattern = pre["pretokenizers"][0]["pattern"]["Regex"]
    return tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=byte_ranks(j), special_tokens={})


def put_tekken(source, folder):
    """A tekken.json of 130072 pieces, bytes first, of a byte-level tokenizer.json, in place of the tokenizer there."""
    j = json.load(open(os.path.join(source, "tokenizer.json")))
    ranks = byte_ranks(j)
    tokens = sorted(ranks, key=lambda t: (len(t) > 1, t if len(t) == 1 else b"", ranks[t]))[:130072]
    vocab = [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": t.decode("utf-8", "replace")} for i, t in enumerate(tokens)]
    config = {"pattern": j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"], "default_vocab_size": 131072, "default_num_special_tokens": 1000, "version": "v3"}
    for f in glob.glob(folder + "/tokenizer*"):
        os.unlink(f)
    with open(folder + "/tekken.json", "w") as f:
        json.dump({"config": config, "vocab": vocab}, f, ensure_ascii=False, indent=1)


def peer(kind, path, texts_file, threads, runs):
    texts = open(texts_file, newline="").read().split("\0")[:-1]
    if kind == "tokenizers":
        import tokenizers
        t = tokenizers.Tokenizer.from_file(path)
        t.encode_special_tokens = True
        encode = lambda: [e.ids for e in t.encode_batch_fast(texts, add_special_tokens=False)]
    elif kind == "tiktoken":
        t = tiktoken_of(path)
        encode = lambda: t.encode_ordinary_batch(texts, num_threads=threads)
    else:
        import sentencepiece
        t = sentencepiece.SentencePieceProcessor(model_file=path)
        encode = lambda: t.encode(texts, num_threads=threads)
    for _ in range(runs):
        start = clock()
        ids = encode()
        took = clock() - start
        print("%.6f %d %s" % (took, *digest(ids)), flush=True)


def program_peer(path, texts_file, out):
    """What a script does: JSON lines, encode_batch, ids in a file."""
    import numpy, tokenizers
    t = tokenizers.Tokenizer.from_file(path)
    with open(texts_file) as f, open(out, "wb") as o:
        while lines := f.readlines(4 << 20):
            for e in t.encode_batch_fast([json.loads(l)["text"] for l in lines], add_special_tokens=False):
                o.write(numpy.asarray(e.ids, dtype="<u4").tobytes())


# ---- the comparison

def command(kind, path, texts, threads, runs):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true")
    if kind == "qz":
        args = [DRIVER, path, texts, str(threads), str(runs)]
    else:
        args = [sys.executable, __file__, "--peer", kind, path, texts, str(threads), str(runs)]
    out = subprocess.run(args, env=env, capture_output=True, text=True)
    if out.returncode:
        sys.exit("%s: %s" % (kind, out.stderr))
    lines = [l.split() for l in out.stdout.splitlines()]
    return [float(l[0]) for l in lines], lines[-1][1:]


def spread(size, seconds):
    rates = sorted(size / 1e6 / s for s in seconds)
    return "%.1f (%.1f to %.1f)" % (statistics.median(rates), rates[0], rates[-1])


def compare(model, texts):
    """Rounds: each program once a round, a process of its own, the first run of which does not count."""
    path = os.path.join(SHARED, "models", model, "tokenizer.json")
    spm = os.path.join(SHARED, "models", model, "tokenizer.model")
    size = os.path.getsize(texts)
    kinds = [("qz", path), ("tokenizers", path)]
    if os.path.exists(spm):
        kinds.append(("sentencepiece", spm))
    if tiktoken_of(path):
        kinds.append(("tiktoken", path))
    for threads in THREADS:
        times, ids = {k: [] for k, _ in kinds}, {}
        rounds = max(1, (RUNS + 1) // 2)
        for _ in range(rounds):
            for kind, p in kinds:
                runs, ids[kind] = command(kind, p, texts, threads, 3)
                times[kind] += runs[1:]
        for kind, _ in kinds:
            ratio = statistics.median(times[kind]) / statistics.median(times["qz"])
            same = "equal" if ids[kind] == ids["qz"] else "other (%s)" % ids[kind][0]
            print("| %-22s | %-7s | %d | %-13s | %-24s | %5.1f | %s |" % (model, os.path.basename(texts)[:-5], threads, kind, spread(size, times[kind]), ratio, same), flush=True)


def finish(p):
    """What a program that has ended used."""
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit("%s: status %d" % (p.args[0], p.returncode))
    return usage


def programs(model, texts):
    path = os.path.join(SHARED, "models", model, "tokenizer.json")
    size = os.path.getsize(texts)
    for threads in THREADS:
        times = {"qz-tokenize": [], "script": []}
        with tempfile.TemporaryDirectory() as d:
            sides = {"qz-tokenize": [os.path.join(ROOT, "build/bin/qz-tokenize"), "-q", "-m", os.path.dirname(path), "-f", "text", "--special", "none", "-j", str(threads), "-o", d + "/a.qz", texts],
                     "script": [sys.executable, __file__, "--peer", "program", path, texts, d + "/b.ids"]}
            for _ in range(RUNS):
                for side, args in sides.items():
                    start = time.perf_counter()
                    p = subprocess.Popen(args, env=dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true"))
                    usage = finish(p)
                    times[side].append(usage.ru_utime + usage.ru_stime if clock == time.process_time else time.perf_counter() - start)
        for side in sides:
            ratio = statistics.median(times[side]) / statistics.median(times["qz-tokenize"])
            print("| %-22s | %-7s | %d | %-13s | %-24s | %5.1f | whole program |" % (model, os.path.basename(texts)[:-6], threads, side, spread(size, times[side]), ratio), flush=True)


def took_and_rss(args, stdin=None):
    """Seconds and peak memory in MB of a program."""
    start = time.perf_counter()
    usage = finish(subprocess.Popen(args, stdin=stdin))
    took = usage.ru_utime + usage.ru_stime if clock == time.process_time else time.perf_counter() - start
    return took, usage.ru_maxrss / 1024


def start_up(model, tekken=False):
    """A model of one small layer around the tokenizer's folder, and its shard; tekken: its pieces as tekken.json."""
    source = os.path.join(SHARED, "models", model)
    tool = os.path.join(ROOT, "build/bin/qz-tokenize")
    with tempfile.TemporaryDirectory() as d:
        folder, shard, line = d + "/model", d + "/model.qz", d + "/line.jsonl"
        subprocess.run(["perl", ROOT + "/tests/cli/tiny-llama.pl", folder, "vocab=152064", "hidden=64", "heads=2", "kv=2", "ffn=64", "layers=1", "tied=1"], check=True)
        for f in glob.glob(source + "/*.json"):
            open(os.path.join(folder, os.path.basename(f)), "wb").write(open(f, "rb").read())
        if tekken:
            put_tekken(source, folder)
        subprocess.run([os.path.join(ROOT, "build/bin/qz-quantize"), "-q", "-o", shard, folder], check=True)
        open(line, "w").write('{"text":"Hello"}\n')
        for name, m in ("folder", folder), ("shard", shard):
            took = sorted(1e3 * took_and_rss([tool, "-q", "-m", m, "-f", "text", "-j", "1", "-o", d + "/a.qz", line])[0] for _ in range(4 * RUNS))
            print("| %-22s | %-7s | 1 | start-up      | %.1f ms (%.1f to %.1f) | | |" % ("tekken.json" if tekken else model, name, statistics.median(took), took[0], took[-1]), flush=True)


def memory(model, names):
    tool = os.path.join(ROOT, "build/bin/qz-tokenize")
    with tempfile.TemporaryDirectory(dir=WORK) as d:
        big, n = d + "/big.jsonl", 0
        with open(big, "wb") as f:
            while n < 1 << 30:
                for name in names:
                    n += f.write(open(os.path.join(WORK, name + ".jsonl"), "rb").read())
        args = [tool, "-q", "-m", os.path.join(SHARED, "models", model), "-f", "text", "-j", "2", "-o", "/dev/null"]
        for name in "file", "pipe":
            cat = subprocess.Popen(["cat", big], stdout=subprocess.PIPE) if name == "pipe" else None
            took, rss = took_and_rss(args + ([big] if not cat else ["-"]), cat and cat.stdout)
            print("| %-22s | %-7s | 2 | 1 GB          | %.0f MB, %.0f MB/s | | |" % (model, name, rss, n / 1e6 / took), flush=True)


def main():
    only = os.environ.get("ONLY", "")
    print("| tokenizer | text | threads | program | MB/s | qz is faster by | ids |\n|---|---|---|---|---|---|---|")
    names = make_texts()
    for model in "mistral-v1-tokenizer", "qwen2-tokenizer", "llama3-like-tokenizer":
        for name in names:
            if only in model + " " + name:
                compare(model, os.path.join(WORK, name + ".txt0"))
                programs(model, os.path.join(WORK, name + ".jsonl"))
        if only in model + " start":
            start_up(model)
    if only in "tekken start":
        start_up("qwen2-tokenizer", tekken=True)
    if only in "qwen2-tokenizer memory":
        memory("qwen2-tokenizer", names)


if len(sys.argv) > 2 and sys.argv[1] == "--peer":
    if sys.argv[2] == "program":
        program_peer(*sys.argv[3:])
    else:
        peer(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
else:
    main()
