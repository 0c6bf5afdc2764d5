# For a guest's root: speaks with the host's end of a share by itself, past sshfs, whose paths are what
# the guest's kernel makes of them. sftp_client.pl PORT SHARE: tries what must not work, and prints
# what did.
use strict;
use warnings;

my ($name, $share) = @ARGV;
my ($number) = map { m{/(vport[^/]+)/name} } grep { `cat $_` eq "$name\n" } glob('/sys/class/virtio-ports/*/name');
my $port;
system("umount -l $share; pkill -9 sshfs");
# One at a time may have it.
for (1 .. 100) { open($port, '+<:raw', "/dev/$number") and last; select(undef, undef, undef, 0.1) }
$port or die "/dev/$number: $!";

sub text { return pack('N/a*', $_[0]) }

# The answer's type and what is behind its id.
sub ask {
	my ($type, $body, $id) = @_;
	my $packet = pack('N', 5 + length $body) . pack('CN', $type, $id // 1) . $body;
	my ($head, $reply) = ('', '');
	syswrite($port, $packet) == length $packet or die "write: $!";
	while (length $head < 4) { sysread($port, $head, 4 - length $head, length $head) or die 'the host has gone' }
	my $n = unpack('N', $head);
	while (length $reply < $n) { sysread($port, $reply, $n - length $reply, length $reply) or die 'the host has gone' }
	return (unpack('C', $reply), substr($reply, 5));
}

my @outside = ('/etc/passwd', '../outside', '..', 'up/outside', 'link', './../outside', 'd/../../outside');
for my $path (@outside) {
	my %requests = (
		open => [3, text($path) . pack('NN', 1, 0)],
		create => [3, text($path) . pack('NN', 10, 0)],
		opendir => [11, text($path)],
		truncate => [9, text($path) . pack('NNN', 1, 0, 0)],
		chmod => [9, text($path) . pack('NN', 4, 0777)],
		times => [9, text($path) . pack('NNN', 8, 1, 1)],
		remove => [13, text("$path/file")],
		rename => [18, text('mine') . text("$path/taken")],
		hardlink => [200, text('hardlink@openssh.com') . text($path eq 'link' ? 'up/outside' : $path) . text('stolen')],
	);
	for my $what (sort keys %requests) {
		my ($type, $rest) = ask(@{$requests{$what}});
		next if $type == 101 && unpack('N', $rest) != 0;
		next if $what eq 'times' && $path eq 'link'; # of the link itself
		print "$what of '$path' has worked\n";
	}
}
my ($type) = ask(3, text('mine') . pack('NN', 1, 0));
print $type == 102 ? "done\n" : "the share is not served\n";
