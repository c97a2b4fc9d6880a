#!/usr/bin/perl
# seeds.pl FOLDER: the smallest files that the fuzz targets read to the end: FOLDER/gguf (also for source), FOLDER/imatrix,
# FOLDER/yaml.
use strict;
use warnings;

my $folder = shift;
sub text { pack 'Q</a', $_[0] }
sub key { my ($k, $type, $v) = @_; text($k) . pack('L<', $type) . $v }
sub u32 { key($_[0], 4, pack 'L<', $_[1]) }
sub str { key($_[0], 8, text($_[1])) }
sub put { my ($name, $bytes) = @_; open my $f, '>:raw', "$folder/$name" or die "$folder/$name: $!\n"; print $f $bytes }

# type: [ggml number, elements a block, bytes a block]
sub gguf {
	my ($number, $block, $bytes, $bpe) = @_;
	my @tokens = $bpe ? ('a', 'b', 'ab', '!', '<|end|>', 'c', 'd', 'e') : ('<unk>', '<s>', '</s>', '<0x0A>', "\xe2\x96\x81", 'a', 'b', 'ab');
	my @types = $bpe ? (1, 1, 1, 1, 3, 1, 1, 1) : (2, 3, 3, 6, 1, 1, 1, 1);
	my @keys = (str('general.architecture', 'llama'), u32('llama.block_count', 1), u32('llama.context_length', 32),
	    u32('llama.embedding_length', 32), u32('llama.feed_forward_length', 32), u32('llama.attention.head_count', 2),
	    u32('llama.attention.head_count_kv', 2), key('llama.attention.layer_norm_rms_epsilon', 6, pack 'f<', 1e-5),
	    u32('llama.vocab_size', 8), str('tokenizer.ggml.model', $bpe ? 'gpt2' : 'llama'),
	    key('tokenizer.ggml.tokens', 9, pack('L<Q<', 8, 8) . join '', map { text($_) } @tokens),
	    key('tokenizer.ggml.token_type', 9, pack('L<Q<l<8', 5, 8, @types)));
	push @keys, $bpe ? (str('tokenizer.ggml.pre', 'gpt-2'), key('tokenizer.ggml.merges', 9, pack('L<Q<', 8, 1) . text('a b')))
	    : key('tokenizer.ggml.scores', 9, pack('L<Q<f<8', 6, 8, map { -$_ } 0 .. 7));
	my ($infos, $data, $n) = ('', '', 0);
	my @matrices = (['token_embd', 8], ['output', 8], map { ["blk.0.$_", 32] }
	    qw(attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down));
	for (@matrices) {
		$infos .= text("$_->[0].weight") . pack 'L<Q<Q<L<Q<', 2, 32, $_->[1], $number, length $data;
		$data .= "\1" x ($_->[1] * 32 / $block * $bytes);
		$data .= "\0" x (-length($data) % 32);
	}
	for (qw(output_norm blk.0.attn_norm blk.0.ffn_norm)) {
		$infos .= text("$_.weight") . pack 'L<Q<L<Q<', 1, 32, 0, length $data;
		$data .= "\0" x 128;
	}
	my $head = 'GGUF' . pack('L<Q<Q<', 3, @matrices + 3, scalar @keys) . join('', @keys) . $infos;
	return $head . "\0" x (-length($head) % 32) . $data;
}

mkdir "$folder/$_" for qw(gguf imatrix yaml);
put('gguf/f16', gguf(1, 1, 2, 0));
put('gguf/q4_0', gguf(2, 32, 18, 1));
put('imatrix/dat', pack('l<', 1) . pack('l</a', 'blk.0.attn_q.weight') . pack('l<l<f<4', 2, 4, 1 .. 4) . pack('l<l</a', 2, 'text'));
my $info = text('x.in_sum2') . pack('L<Q<L<Q<', 1, 4, 0, 0) . text('x.counts') . pack 'L<Q<L<Q<', 1, 1, 0, 32;
my $head = 'GGUF' . pack('L<Q<Q<', 3, 2, 1) . u32('imatrix.chunk_count', 2) . $info;
put('imatrix/gguf', $head . "\0" x (-length($head) % 32) . pack('f<4', 1 .. 4) . "\0" x 16 . pack('f<', 3) . "\0" x 28);
put('yaml/card', "license: mit\nbase_model:\n- a/b # c\n- name: 'x''y'\n  url: \"\\u00e9\\n\"\ntags: [a, {b: c}]\nd: >-\n  e\n   f\n\n  g\nh: |2+\n    i\nj: ~\n");
