#!/usr/bin/env python3
"""general.* of a GGUF file against gguf-py's Metadata, which llama.cpp's converter asks: names from the model's card,
config.json, the folder; where it comes from, licence, tags, languages, sampling."""
import json, os, random, shutil, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
gguf, yaml = tap.need('gguf', 'yaml')

stories = tap.shared('models', 'stories260k')
PARAMS = 260032

# the card's front matter, config.json's changes, generation_config.json's, the folder's name
CASES = {
    'no card': ('', {}, {}, 'stories260k'),
    'a name with all parts': ('', {}, {}, 'Mistral-7B-Instruct-v0.2'),
    'a size that is a length': ('', {}, {}, 'Llama-32k-chat'),
    'the config names it': ('', {'_name_or_path': 'meta-llama/Llama-2-7b-hf'}, {}, 'folder-v2'),
    'a path in the config': ('', {'_name_or_path': '/home/me/models/x-7b'}, {}, 'folder-v2'),
    'fields of a hub': ('license: apache-2.0\nlanguage:\n- en\n- no\n- de\ntags:\n- chat\n- x y\npipeline_tag: text-generation\n'
                        'base_model: mistralai/Mistral-7B-v0.1\ndatasets:\n- databricks/dolly-15k\n- https://example.org/data\n',
                        {}, {}, 'out'),
    'bases of a merge': ('base_model:\n- a/b-7b-v1\n- https://huggingface.co/c/d\n- https://huggingface.co/c/d/e\n'
                         '- name: E\n  organization: F\n  url: g\n- plain\nlicense:\n- mit\n- apache-2.0\n', {}, {}, 'out'),
    'llama.cpp names': ('name: N n\nauthor: A\nversion: v3\norganization: O\ndescription: >\n  one\n  two\nfinetune: F\n'
                        'basename: B\nsize_label: 9Q\nurl: u\ndoi: d\nuuid: i\nrepo_url: r\n', {}, {}, 'Mistral-7B-v0.2'),
    'model_ names': ('model_name: N\nmodel_creator: A\nmodel_type: mistral\nlicense: other\nlicense_name: L\nlicense_link: LICENSE\n',
                     {}, {}, 'Mistral-7B-v0.2'),
    'results of an evaluation': ('license: mit\nmodel-index:\n- name: x\n  results:\n  - task:\n      type: text-generation\n    metrics:\n'
                                 '    - type: acc\n      value: 64.5\n      name: "normalized: accuracy"\ntags: [a, "b, c"]\n', {}, {}, 'out'),
    'nothing said': ('base_model:\nlicense: ~\nlanguage: []\n', {}, {}, 'out'),
    'sampling': ('', {}, {'top_k': 20, 'top_p': 0.8, 'temperature': 0.7, 'min_p': 0.05, 'sequence': 'km', 'xtc_probability': 0.1,
                          'xtc_threshold': 0.2, 'penalty_last_n': 64, 'penalty_repeat': 1.1, 'mirostat': 2, 'mirostat_tau': 5.0,
                          'mirostat_eta': 0.1, 'do_sample': True, 'eos_token_id': [1, 2]}, 'out'),
}


def folder(d, name, card, config, generation):
    path = os.path.join(d, name)
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(stories, path)
    os.system('chmod -R u+w ' + path)
    if card:
        with open(os.path.join(path, 'README.md'), 'w') as f:
            f.write('---\n' + card + '---\n# A model\n\nlicense: not this\n')
    for file, change in ('config.json', config), ('generation_config.json', generation):
        file = os.path.join(path, file)
        old = json.load(open(file)) if os.path.exists(file) else {}
        json.dump(old | change, open(file, 'w'))
    return path


def general(path):
    """The keys in their order, but for those that say how the file is."""
    r = gguf.GGUFReader(path)
    skip = 'general.architecture', 'general.type', 'general.file_type', 'general.quantization_version'
    return [(k, [int(t) for t in f.types], f.contents()) for k, f in r.fields.items() if k.startswith('general.') and k not in skip]


def expected(path, out):
    from pathlib import Path
    m = gguf.Metadata.load(None, Path(path), None, PARAMS)
    m.size_label = m.size_label or gguf.size_label(PARAMS, 0, 0, 0)
    w = gguf.GGUFWriter(out, 'llama')
    m.set_gguf_meta_model(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    return general(out)


def cards(n):
    """Cards that PyYAML writes in all its styles."""
    rng = random.Random(5)
    texts = ['a', 'b c', "it's", 'no', '1.10', 'x: y', '#h', 'a #b', 'é', 'two\nlines', '- d', 'http://x.org/y#z', 'org/Name-7b-v2', '"q"', '', '~']
    ids = [t for t in texts if t.isascii()]  # a name's first letter becomes a capital if it is ASCII
    for _ in range(n):
        c = {k: rng.choice(texts) for k in rng.sample(['name', 'author', 'version', 'license', 'description', 'url', 'model_type'], 3)}
        c |= {k: [rng.choice(texts if k in ('tags', 'language') else ids) for _ in range(rng.randint(0, 4))] for k in rng.sample(['tags', 'language', 'base_model', 'datasets'], 2)}
        c['name'] = c.get('name') or 'n'  # an empty one is a name to gguf-py
        yield yaml.safe_dump(c, default_flow_style=rng.choice([None, True, False]), allow_unicode=rng.random() < .5,
                             width=rng.choice([20, 80]), default_style=rng.choice([None, None, '"', "'", '|', '>']), sort_keys=False)


with tempfile.TemporaryDirectory() as d:
    for what, (card, config, generation, name) in CASES.items():
        path, ours = folder(d, name, card, config, generation), os.path.join(d, 'ours.gguf')
        if not tap.qz('qz-gguf', '-q', '-t', 'q8_0', '-o', ours, path):
            continue
        a, b = general(ours), expected(path, os.path.join(d, 'theirs.gguf'))
        if not tap.ok(a == b, '%s: %d keys are gguf-py\'s' % (what, len(b))):
            print('# ours only: %r\n# theirs only: %r' % ([x for x in a if x not in b], [x for x in b if x not in a]))
    bad = []
    for card in cards(40):
        path = folder(d, 'out', card, {}, {})
        if os.system('qz-gguf -q -t q8_0 -o %s %s' % (ours, path)):
            bad.append(card)
            continue
        # an empty text is no key; a text is a text whatever it looks like
        want = [x for x in expected(path, os.path.join(d, 'theirs.gguf')) if x[2] != '']
        if general(ours) != want:
            bad.append(card)
    if not tap.ok(not bad, '40 cards in the styles of PyYAML'):
        print('# ' + repr(bad[:2]))
tap.done()
