"""llama.cpp as the packages carry it.  Llama (xllamacpp): a model, perhaps with a LoRA, behind a port of this machine.
Logits (llama-cpp-python): what follows every token of a text, in one pass over it."""
import json, math, urllib.request


class Llama:
    def __init__(self, model, lora=None):
        import xllamacpp as x
        p = x.CommonParams()
        p.model.path = model
        p.n_ctx = 512
        p.n_parallel = 1
        p.warmup = False
        p.verbosity = 0
        p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
        p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if lora:
            p.lora_adapters = [x.CommonAdapterLoraInfo(lora, 1.0)]
        self.server = x.Server(p)

    def post(self, path, **fields):
        request = urllib.request.Request(self.server.listening_address + path, json.dumps(fields).encode(),
                                         {'Content-Type': 'application/json'})
        return json.load(urllib.request.urlopen(request))

    def tokenize(self, text):
        return self.post('/tokenize', content=text, add_special=True, parse_special=False)['tokens']

    def greedy(self, ids, n):
        return self.post('/completion', prompt=ids, n_predict=n, temperature=0, return_tokens=True,
                         cache_prompt=False)['tokens']

    def text(self, ids, n):
        return self.post('/completion', prompt=ids, n_predict=n, temperature=0, cache_prompt=False)['content']

    def logprobs(self, ids, n_vocab):
        """Of every token after ids."""
        r = self.post('/completion', prompt=ids, n_predict=1, temperature=0, n_probs=n_vocab, cache_prompt=False)
        out = [None] * n_vocab
        for row in r['completion_probabilities'][0]['top_logprobs']:
            out[row['id']] = row['logprob']
        return out


class Logits:
    def __init__(self, model, n_ctx=1024):
        import llama_cpp as l
        self.l = l.Llama(model, n_ctx=n_ctx, n_batch=n_ctx, n_ubatch=n_ctx, logits_all=True, verbose=False, flash_attn=False,
                         type_k=l.GGML_TYPE_F32, type_v=l.GGML_TYPE_F32)

    def logs(self, ids):
        """ln p of each token after the first."""
        import numpy
        self.l.reset()
        self.l.eval(ids)
        rows = numpy.asarray(self.l.scores[:len(ids) - 1], dtype=numpy.float64)
        top = rows.max(axis=1)
        whole = top + numpy.log(numpy.exp(rows - top[:, None]).sum(axis=1))
        return [float(rows[i, ids[i + 1]] - whole[i]) for i in range(len(ids) - 1)]

    def perplexity(self, rows):
        """Of the tokens after each row's first."""
        logs = [x for ids in rows for x in self.logs(ids)]
        return math.exp(-sum(logs) / len(logs))
