#!/usr/bin/perl
# tiny-llama.pl FOLDER [KEY=VALUE...]: a llama with made-up f16 weights, without a tokenizer's files unless the
# caller adds them.  Keys: layers hidden ffn heads kv vocab tied.
use strict;
use warnings;

my $folder = shift;
my %c = (layers => 2, hidden => 256, ffn => 512, heads => 4, kv => 2, vocab => 32, tied => 0);
for (@ARGV) { /^(\w+)=(\d+)$/ && exists $c{$1} or die "$_?"; $c{$1} = $2 }
my $head = $c{hidden} / $c{heads};
mkdir $folder;
open my $j, '>', "$folder/config.json" or die;
print $j qq({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":$c{hidden},)
    . qq("intermediate_size":$c{ffn},"num_hidden_layers":$c{layers},"num_attention_heads":$c{heads},)
    . qq("num_key_value_heads":$c{kv},"vocab_size":$c{vocab},"max_position_embeddings":512,)
    . qq("rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu","torch_dtype":"float16",)
    . '"tie_word_embeddings":' . ($c{tied} ? 'true' : 'false') . "}\n";
close $j;

my @t = (['model.embed_tokens.weight', $c{vocab}, $c{hidden}], ['model.norm.weight', $c{hidden}]);
push @t, ['lm_head.weight', $c{vocab}, $c{hidden}] unless $c{tied};
for my $i (0 .. $c{layers} - 1) {
	my $p = "model.layers.$i.";
	push @t, ["${p}input_layernorm.weight", $c{hidden}], ["${p}post_attention_layernorm.weight", $c{hidden}],
	    ["${p}self_attn.q_proj.weight", $c{hidden}, $c{hidden}],
	    ["${p}self_attn.k_proj.weight", $c{kv} * $head, $c{hidden}],
	    ["${p}self_attn.v_proj.weight", $c{kv} * $head, $c{hidden}],
	    ["${p}self_attn.o_proj.weight", $c{hidden}, $c{hidden}],
	    ["${p}mlp.gate_proj.weight", $c{ffn}, $c{hidden}], ["${p}mlp.up_proj.weight", $c{ffn}, $c{hidden}],
	    ["${p}mlp.down_proj.weight", $c{hidden}, $c{ffn}];
}
# f16 bits of either sign between 2^-8 and 2^-5, by a linear congruence
my ($seed, $noise) = (1, '');
for (1 .. 4096) { $seed = ($seed * 1103515245 + 12345) % 2147483648; $noise .= pack 'v', 0x1c00 + ($seed >> 8) % 0xc00 | ($seed >> 7 & 1) << 15 }
my ($at, @h) = (0);
for (@t) {
	my ($name, @d) = @$_;
	my $n = 2 * $d[0] * ($d[1] // 1);
	push @h, sprintf '"%s":{"dtype":"F16","shape":[%s],"data_offsets":[%d,%d]}', $name, join(',', @d), $at, $at + $n;
	$at += $n;
}
my $h = '{' . join(',', @h) . '}';
$h .= ' ' x (-length($h) % 8);
open my $f, '>:raw', "$folder/model.safetensors" or die;
print $f pack('Q<', length $h), $h;
for (my $i = 0; $at > 0; $i++, $at -= 8192) { print $f substr $noise . $noise, 2 * ($i % 4096), $at < 8192 ? $at : 8192 }
