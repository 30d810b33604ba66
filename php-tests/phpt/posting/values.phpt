--TEST--
Values are sent exactly as json_encode writes them
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
enum Suit: string
{
    case Hearts = 'H';
}
enum Number: int
{
    case One = 1;
}
class Pair
{
    public $left = 1;
    protected $hidden = 2;
    private $secret = 3;
    public $right;
}
class Said implements JsonSerializable
{
    public function __construct(private mixed $what)
    {
    }

    public function jsonSerialize(): mixed
    {
        return $this->what;
    }
}
$shared = ['shared' => 1];
$deep = 0.5;
for ($level = 0; $level < 100; $level++) {
    $deep = [$level, $deep];
}
$ascii = implode(array_map('chr', range(0, 127)));
$values = [
    null, true, false, 0, -1, PHP_INT_MAX, PHP_INT_MIN, 0.1, 0.1 + 0.2, 1.0, -0.0, 1e100, 1.5e-10, 123456789012345678.0,
    '', 'é', '日本語', '😀', "a\"b\\c/d\n\t\0\u{2028}</script>", '0', [], [[]], ['a' => ['b' => [1]]], new stdClass(), new Pair(),
    new Said(['x' => new Said(null)]), Suit::Hearts, Number::One, new DateTimeImmutable('2030-01-02 03:04:05.678', new DateTimeZone('Europe/Berlin')),
    new ArrayObject(['a' => 1]), new ArrayIterator([1, 2]), fn () => 1, [&$shared, $shared], (object) ['' => 1, '0' => 2], ["\u{0}key" => 1],
    $ascii, str_repeat('x', 100) . "\x1f" . str_repeat('é', 50) . '"', $deep, [1 => 1, 0 => 0], [1 => 'one'], ['0' => 'a', '1' => 'b', '3' => 'd'],
    [$ascii => [-7 => ['ü' => [true, false, null]], PHP_INT_MIN => ''], '' => [[], [[]]], 'half' => 0.5],
];
$queue = fresh('queue');
$client = client(['exchange' => $queue]);
$same = 0;
foreach ([17, -1] as $precision) {
    ini_set('serialize_precision', $precision);
    foreach ($values as $index => $value) {
        $client->PostTask('proj.echo', [$value], false);
        $sent = base64_decode(message($queue)['body']);
        $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_LINE_TERMINATORS;
        $expected = '[' . json_encode([$value], $flags) . ',{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]';
        if ($sent === $expected) {
            ++$same;
        } else {
            echo "value $index:\n$sent\n$expected\n";
        }
    }
}
var_dump($same === 2 * count($values));
?>
--EXPECT--
bool(true)
