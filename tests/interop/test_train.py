#!/usr/bin/env python3
"""Folders of qz-train --to peft: PEFT loads them, and the held-out loss is the one that qz-train reports."""
import json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
sys.path.pop(0)
torch, transformers, peft = tap.need('torch', 'transformers', 'peft')
torch.set_num_threads(1)

model = tap.shared('models', 'stories260k')
data = os.path.join(tap.ROOT, 'examples', 'data')


def tokens(out, source, rows):
    """A token shard of prompt/response pairs, and its rows."""
    lines = [json.loads(l)['messages'] for l in open(os.path.join(data, source))][:rows]
    path = out + '.jsonl'
    with open(path, 'w') as f:
        for user, assistant in lines:
            f.write(json.dumps({'prompt': user['content'], 'response': ' ' + assistant['content']}) + '\n')
    tap.qz('qz-tokenize', '-q', '-m', model, '-f', 'prompt', '-o', out, path)
    text = subprocess.run(['qz-show', '--json', '--rows', 'all', out], capture_output=True, text=True).stdout
    return [j for j in map(json.loads, text.splitlines()) if 'ids' in j]


def loss_of(net, rows):
    """Mean over all trained tokens."""
    total, count = 0.0, 0
    for r in rows:
        ids = torch.tensor(r['ids'])
        labels = torch.where(torch.tensor(r['mask']) == 1, ids, -100)
        with torch.no_grad():
            logits = net(input_ids=ids[None]).logits[0]
        total += torch.nn.functional.cross_entropy(logits[:-1].double(), labels[1:], ignore_index=-100, reduction='sum').item()
        count += (labels[1:] != -100).sum().item()
    return total / count


with tempfile.TemporaryDirectory() as d:
    train, held = os.path.join(d, 'train.qz'), os.path.join(d, 'held.qz')
    tokens(train, 'qz-manual.jsonl', 40)
    rows = tokens(held, 'qz-manual-heldout.jsonl', 6)
    for i, options in enumerate([[], ['--targets', 'q,v'], ['--targets', 'gate,down', '-r', '3', '-a', '7', '--dropout', '0.1']]):
        out, log = os.path.join(d, 'peft%d' % i), os.path.join(d, 'log%d' % i)
        if not tap.qz('qz-train', '-q', '-b', model, '--lr', '3e-3', '--eval', held, '--log', log, '--to', 'peft', '-o', out, *options, train):
            continue
        evals = [j['eval_loss'] for j in map(json.loads, open(log)) if 'eval_loss' in j]
        base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        before = loss_of(base, rows)
        tap.ok(abs(before - evals[0]) < 1e-5, 'the loss before, %.6f, is transformers\' (%.1e)' % (evals[0], abs(before - evals[0])))
        net = peft.PeftModel.from_pretrained(base, out)
        after = loss_of(net, rows)
        tap.ok(abs(after - evals[-1]) < 1e-5, 'the loss after, %.6f, is that of PEFT with the folder (%.1e)' % (evals[-1], abs(after - evals[-1])))
        tap.ok(after < before, 'and lower')
        config = net.peft_config['default']
        want = options[1].split(',') if options else ['q', 'k', 'v', 'o', 'gate', 'up', 'down']
        tap.ok(sorted(config.target_modules) == sorted(t + '_proj' for t in want), 'its target modules are those asked for')
tap.done()
