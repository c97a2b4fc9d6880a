"""Templates with the structure of published models, rendered by qz and by transformers: the same text, or both
refuse.  With --write FILE the answers go into a file of golden answers, with what qz trains in « ».
usage: jinja_models.py [--write FILE]"""
import datetime, glob, json, os, subprocess, sys
import tap

try:
    import transformers.utils.chat_template_utils as reference
except ImportError as e:
    tap.skip_all('no package transformers (%s)' % e)

NOW = 1700000000
HERE = os.path.join(tap.ROOT, 'tests', 'golden', 'chat')
EOS = {'qwen2.5': '<|im_end|>', 'qwen3': '<|im_end|>', 'smollm2': '<|im_end|>', 'llama3': '<|eot_id|>', 'llama3.1-tools': '<|eot_id|>',
       'gemma2': '<eos>', 'gemma3': '<eos>', 'phi3': '<|endoftext|>', 'phi4': '<|im_end|>', 'granite': '<|end_of_text|>',
       'deepseek-r1': '<｜end▁of▁sentence｜>', 'command-r': '<|END_OF_TURN_TOKEN|>'}
BOS = {'llama3': '<|begin_of_text|>', 'llama3.1-tools': '<|begin_of_text|>', 'gemma2': '<bos>', 'gemma3': '<bos>', 'command-r': '<BOS_TOKEN>',
       'deepseek-r1': '<｜begin▁of▁sentence｜>'}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


def ask_transformers(case):
    out = reference.render_jinja_template([case['messages']], tools=case.get('tools'), chat_template=case['template'], bos_token=case['bos_token'],
                                          eos_token=case['eos_token'], add_generation_prompt=case['add_generation_prompt'], **case.get('extra', {}))
    return (out[0] if isinstance(out, tuple) else out)[0]


def marked(answer):
    data, out, at = answer['text'].encode(), b'', 0
    spans = []
    for a, b in answer['trained']:
        if spans and spans[-1][1] == a:
            spans[-1][1] = b
        else:
            spans.append([a, b])
    for a, b in spans:
        out += data[at:a] + '«'.encode() + data[a:b] + '»'.encode()
        at = b
    return (out + data[at:]).decode()


reference.datetime = Clock
cases = []
for path in sorted(glob.glob(os.path.join(HERE, '*.jinja'))):
    name = os.path.basename(path)[:-6]
    for i, line in enumerate(open(os.path.join(HERE, 'conversations.jsonl'), encoding='utf-8')):
        for prompt in (False, True):
            cases.append(dict(json.loads(line), name=name, conversation=i, template=open(path, encoding='utf-8').read(), now=NOW,
                              add_generation_prompt=prompt, bos_token=BOS.get(name, '<s>'), eos_token=EOS.get(name, '</s>')))
lines = ''.join(json.dumps(c) + '\n' for c in cases)
r = subprocess.run([os.path.join(tap.ROOT, 'build', 'tests', 'unit', 'chat.t'), 'render'], input=lines.encode(), stdout=subprocess.PIPE)
answers = [json.loads(x) for x in r.stdout.decode().split('\n')[:-1]]
tap.ok(len(answers) == len(cases), 'qz answers all %d' % len(cases))
golden, counts = [], {}
for case, answer in zip(cases, answers):
    try:
        want = {'text': ask_transformers(case)}
    except Exception as e:
        want = {'error': '%s: %s' % (type(e).__name__, e)}
    same = want.get('text') == answer.get('text')
    n = counts.setdefault(case['name'], [0, 0, 0])
    n[0] += 1
    n[1] += 'text' in want
    n[2] += not same
    if not same:
        print('# %s, conversation %d\n#   transformers: %r\n#             qz: %r' % (case['name'], case['conversation'], want, answer))
    key = {k: case[k] for k in ('name', 'conversation', 'add_generation_prompt', 'bos_token', 'eos_token')}
    golden.append(dict(key, marked=marked(answer)) if 'text' in answer else dict(key, error=answer['error']))
for name, (n, texts, bad) in counts.items():
    tap.ok(bad == 0, '%s: %d conversations, %d of them render, %d differ' % (name, n, texts, bad))
if len(sys.argv) > 2 and sys.argv[1] == '--write':
    with open(sys.argv[2], 'w', encoding='utf-8') as f:
        f.writelines(json.dumps(g, ensure_ascii=False) + '\n' for g in golden)
tap.done()
