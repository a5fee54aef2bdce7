# Regular expressions, hashes, sorting, sprintf, closures, objects, fork and wait; argv: scale seed.
use strict;
use warnings;
my ($scale, $seed) = @ARGV;
sub n { int($_[0] * $scale) || 1 }
my $state = $seed;
sub rnd { $state = ($state * 1103515245 + 12345) & 0x7fffffff; $state % $_[0] }
$| = 1;

my %count;
my @lines = map { sprintf "%05d user%d\@host%d.org 10.%d.%d.1 %s", $_, rnd(999), rnd(99), $_ % 255, $_ % 13, 'ab' x ($_ % 7) } 1 .. n(60000);
for (@lines) {
    $count{"$1/$2"}++ if /(\w+)@(\w+)\.org/;
    $count{$_}++ for split /[.\s@]+/;
    (my $copy = $_) =~ s/(\d+)\.(\d+)/$2.$1/g;
    $count{length $copy}++ if $copy =~ /^(?:0*[1-9]\d*) (?=user[0-4])/;
    (my $upper = uc) =~ tr/A-M/N-Z/;
    $count{substr $upper, 6, 5}++;
}
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
print "$_ $count{$_}\n" for @top;

my @numbers = map { rnd(1_000_000) } 1 .. n(120000);
my @sorted = sort { $a <=> $b } @numbers;
my @by_text = sort map { sprintf '%x-%s', $_, reverse $_ } @numbers[0 .. $#numbers / 4];
print "$sorted[0] $sorted[-1] $by_text[0] $by_text[-1]\n";

package Counter;
sub new { my ($class, %args) = @_; bless { step => 1, %args, at => 0 }, $class }
sub bump { my $self = shift; $self->{at} += $self->{step}; $self }
package main;
my $counter = Counter->new(step => 3);
my @closures = map { my $k = $_; sub { $_[0] * $k + 1 } } 1 .. 10;
my $sum = 0;
for my $i (1 .. n(150000)) {
    $counter->bump;
    $sum = ($sum + $closures[$i % 10]->($i)) % 1000003;
}
print "$counter->{at} $sum\n";

sub fib { my $k = shift; $k < 2 ? $k : fib($k - 1) + fib($k - 2) }
print fib(18 + ($scale > 0.5 ? 3 : 0)), "\n";

my $text = join ' ', map { sprintf '%-8s|%+.3e|%08.3f', "w$_", $_ * 1.7, $_ / 7 } 1 .. n(30000);
print length $text, ' ', unpack('%32C*', $text), "\n";
print join(',', unpack 'N n C a3', pack 'N n C a3', 0xdeadbeef, 4660, 7, 'xyz'), "\n";

for my $child (1 .. 3) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) { print "child $child ", fib(12 + $child), "\n"; exit $child }
    waitpid $pid, 0;
    print 'status ', $? >> 8, "\n";
}
local $SIG{ALRM} = sub { die "alarm\n" };
eval { kill ALRM => $$; select undef, undef, undef, 0.5; };
print "caught $@";
open my $pipe, '-|', 'echo from a child' or die;
print <$pipe>;
close $pipe;
my $out = `printf '%s' backticks`;
print "$out\n";
