#!/usr/bin/env perl
# tensors.pl FILE: "name type dims checksum" of each tensor of a GGUF or safetensors file, sorted by name.
# tensors.pl A B LIMIT: of two safetensors files with the same names, counts elements that differ by more than
# LIMIT roundings of their type, and prints "elements different far largest": largest is the largest difference.
use strict;
use warnings;
use Digest::MD5 'md5_hex';
use JSON::PP;

my %size = (0 => [1, 4], 1 => [1, 2], 2 => [32, 18], 3 => [32, 20], 6 => [32, 22], 7 => [32, 24], 8 => [32, 34],
    10 => [256, 84], 11 => [256, 110], 12 => [256, 144], 13 => [256, 176], 14 => [256, 210], 20 => [32, 18],
    23 => [256, 136], 30 => [1, 2]);

sub slurp {
	open my $in, '<:raw', $_[0] or die "$_[0]: $!\n";
	local $/;
	return <$in>;
}

sub gguf {
	my $s = shift;
	my $at = 8;
	my $take = sub { my ($n) = @_; my $v = substr $s, $at, $n; $at += $n; $v };
	my $text = sub { $take->(unpack 'Q<', $take->(8)) };
	my @fixed = (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8);
	my $value;
	$value = sub {
		my $type = shift;
		return $text->() if $type == 8;
		return $take->($fixed[$type]) if $type != 9;
		my ($of, $n) = unpack 'L<Q<', $take->(12);
		$value->($of) for 1 .. $n;
	};
	my ($tensors, $keys) = unpack 'Q<Q<', $take->(16);
	for (1 .. $keys) { $text->(); $value->(unpack 'L<', $take->(4)) }
	my @all;
	for (1 .. $tensors) {
		my $name = $text->();
		my $n = unpack 'L<', $take->(4);
		my @dims = unpack 'Q<*', $take->(8 * $n);
		my ($type, $offset) = unpack 'L<Q<', $take->(12);
		push @all, [$name, $type, \@dims, $offset];
	}
	$at = int(($at + 31) / 32) * 32;
	for my $t (@all) {
		my $n = 1;
		$n *= $_ for @{$t->[2]};
		my ($block, $bytes) = @{$size{$t->[1]} or die "type $t->[1]\n"};
		$t->[3] = md5_hex substr $s, $at + $t->[3], $n / $block * $bytes;
		$t->[2] = join 'x', @{$t->[2]};
	}
	return @all;
}

sub safetensors {
	my $s = shift;
	my $n = unpack 'Q<', $s;
	my $h = JSON::PP->new->utf8->decode(substr $s, 8, $n);
	delete $h->{__metadata__};
	return map {
		my ($from, $to) = @{$h->{$_}{data_offsets}};
		[$_, $h->{$_}{dtype}, join('x', @{$h->{$_}{shape}}), substr $s, 8 + $n + $from, $to - $from]
	} sort keys %$h;
}

# Floats as integers in their order, so that neighbours differ by one.
sub ordered {
	my ($type, $data) = @_;
	my ($code, $sign) = $type eq 'F32' ? ('L<*', 1 << 31) : ('S<*', 1 << 15);
	return map { $_ & $sign ? $sign - $_ : $_ } unpack $code, $data;
}

sub floats {
	my ($type, $data) = @_;
	$data = pack 'L<*', map { $_ << 16 } unpack 'S<*', $data if $type eq 'BF16';
	return unpack 'f<*', $data;
}

if (@ARGV == 1) {
	my $s = slurp $ARGV[0];
	my @all = substr($s, 0, 4) eq 'GGUF' ? gguf($s) : map { $_->[3] = md5_hex $_->[3]; $_ } safetensors($s);
	print join("\n", sort map { "@$_" } @all), "\n";
} else {
	my ($x, $y) = map { [safetensors(slurp $_)] } @ARGV[0, 1];
	my ($n, $different, $far, $largest) = (0, 0, 0, 0);
	die "not the same tensors\n" if join(' ', map { "@$_[0..2]" } @$x) ne join(' ', map { "@$_[0..2]" } @$y);
	for my $i (0 .. $#$x) {
		my @a = ordered(@{$x->[$i]}[1, 3]);
		my @b = ordered(@{$y->[$i]}[1, 3]);
		my @v = floats(@{$x->[$i]}[1, 3]);
		my @w = floats(@{$y->[$i]}[1, 3]);
		for my $k (0 .. $#a) {
			my $d = abs($a[$k] - $b[$k]);
			$n++;
			$different++ if $d;
			$far++ if $d > $ARGV[2];
			$largest = abs($v[$k] - $w[$k]) if abs($v[$k] - $w[$k]) > $largest;
		}
	}
	print "$n $different $far $largest\n";
}
