"""llama.cpp as the package xllamacpp carries it: a model, perhaps with a LoRA, behind a port of this machine."""
import json, urllib.request


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
