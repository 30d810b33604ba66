--TEST--
A forged result sets no property that PHP's own unserialize() would refuse, and throws the same exceptions
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
enum Suit: string
{
    case Hearts = 'H';
}
trait Declared
{
    public array $rows = [];
    public int $n = 1;
    public float $f = 1.5;
    public bool $b = true;
    public ?self $next = null;
    public readonly string $owner;
    public int|string $either = 1;
    public Suit $suit = Suit::Hearts;
    public iterable|null $many = null;
    protected string $shielded = 's';
    private int $mine = 1;
    public ?string $unset;
    public static int $shared = 7;
    public $free;

    public function show(): string
    {
        $own = [];
        foreach (['rows', 'n', 'f', 'b', 'owner', 'either', 'suit', 'many', 'shielded', 'mine', 'unset', 'free'] as $name) {
            $own[$name] = (new ReflectionProperty(self::class, $name))->isInitialized($this) ? $this->$name : 'uninitialised';
        }

        return json_encode($own);
    }
}
// The properties are in a subclass of a result and in a class of PHP's own, to compare the two.
class Parents extends AsyncResult
{
    use Declared;
}
class Report extends Parents
{
}
class PlainParents
{
    use Declared;
}
class Plain extends PlainParents
{
}
function forged(string $class, string $properties): string
{
    // In the whole serialized text, the first value of this array has the number five.
    $properties = str_replace('R:2;', 'R:5;', $properties);

    return 'O:' . strlen($class) . ":\"$class\":3:{s:7:\"version\";i:1;s:2:\"id\";s:1:\"x\";s:10:\"properties\";$properties}";
}
/** Returns what both do with properties: [outcome, its errors and deprecations]. */
function both(string $properties): void
{
    $ours = outcome(fn () => unserialize(forged('Report', $properties)));
    $php = outcome(fn () => unserialize('O:5:"Plain"' . substr($properties, 1)));
    $same = str_replace(['PlainParents', 'Plain'], ['Parents', 'Report'], $php);
    echo $ours === $same ? "same: $ours\n" : "ours: $ours\nPHP:  $php\n";
}
function outcome(callable $call): string
{
    $seen = [];
    set_error_handler(function ($kind, $message) use (&$seen) {
        $seen[] = $message;

        return true;
    });
    try {
        $made = $call();
        $seen[] = $made->show();
    } catch (Throwable $thrown) {
        $seen[] = get_class($thrown) . ': ' . $thrown->getMessage();
    }
    restore_error_handler();

    return implode(' | ', $seen);
}
foreach ([
    ['n' => 'abc'], ['n' => '5'], ['n' => 1.0], ['n' => true], ['n' => null], ['n' => [1]], ['n' => 5],
    ['f' => 3], ['f' => '3'], ['b' => 0], ['b' => false],
    ['rows' => 'text'], ['rows' => 0x4141414141], ['rows' => ['ok']], ['many' => 5], ['many' => [5]],
    ['next' => 5], ['next' => new stdClass()], ['next' => null],
    ['owner' => [1]], ['owner' => 'me'], ['owner' => null],
    ['either' => 1.5], ['either' => 'x'], ['either' => null],
    ['suit' => 'H'], ['suit' => Suit::Hearts], ['suit' => null],
    ["\0*\0shielded" => 5], ["\0*\0shielded" => 'ok'], ['shielded' => 5], ['shielded' => 'ok'],
    ["\0Parents\0mine" => 'x'], ["\0Parents\0mine" => 5], ["\0parents\0mine" => 5],
    ['unset' => 5], ['unset' => 'ok'],
    ['free' => 5], ['free' => ['a' => [1]]],
    ['dynamic' => 5], ['dynamic' => 5, 'n' => 'abc'], ['n' => 7, 'rows' => 'text', 'f' => 'never'],
    ['shared' => 'x'], [5 => 'int key'], ['' => 'empty'], ["\0*\0nowhere" => 1],
] as $properties) {
    $text = serialize($properties);
    if (str_contains($text, "\0Parents") || str_contains($text, "\0parents")) {
        // Names of private properties contain the name of the class. PHP's own class has a longer
        // name, so the two cannot be compared.
        echo 'ours: ', outcome(fn () => unserialize(forged('Report', $text))), "\n";
    } else {
        both($text);
    }
}
// References: two properties of two types that share one value.
$value = 5;
both(serialize(['n' => &$value, 'f' => &$value]));
both(serialize(['f' => &$value, 'free' => &$value, 'either' => &$value]));
$made = unserialize(forged('Report', serialize(['n' => &$value, 'either' => &$value, 'free' => &$value])));
echo $made->show(), ' ', outcome(function () use ($made) {
    $free = &$made->free;
    $free = 'text';

    return $made;
}), "\n";
$owner = 'me';
$made = unserialize(forged('Report', serialize(['owner' => &$owner, 'free' => &$owner])));
echo outcome(function () use ($made) {
    $free = &$made->free;
    $free = 'forger';

    return $made;
}), "\n";
// A second, direct call of the method.
$made = unserialize(forged('Report', serialize(['owner' => 'first'])));
echo outcome(fn () => $made->__unserialize(['version' => 1, 'id' => 'x', 'properties' => ['owner' => 'second']]) ?? $made), "\n";
// An error handler that throws ends the call.
set_error_handler(fn ($kind, $message) => throw new ErrorException($message));
show(fn () => unserialize(forged('Report', serialize(['dynamic' => 1, 'n' => 'abc']))));
// Valid data comes back unchanged.
restore_error_handler();
$made = unserialize(forged('Report', serialize(['owner' => 'me', 'n' => 3, 'next' => null])));
echo unserialize(serialize($made))->show(), "\n";
?>
--EXPECTF--
same: TypeError: Cannot assign string to property Parents::$n of type int
same: TypeError: Cannot assign string to property Parents::$n of type int
same: TypeError: Cannot assign float to property Parents::$n of type int
same: TypeError: Cannot assign %r(bool|true)%r to property Parents::$n of type int
same: TypeError: Cannot assign null to property Parents::$n of type int
same: TypeError: Cannot assign array to property Parents::$n of type int
same: {%s}
same: {%s}
same: TypeError: Cannot assign string to property Parents::$f of type float
same: TypeError: Cannot assign int to property Parents::$b of type bool
same: {%s}
same: TypeError: Cannot assign string to property Parents::$rows of type array
same: TypeError: Cannot assign int to property Parents::$rows of type array
same: {%s}
same: TypeError: Cannot assign int to property Parents::$many of type %s
same: {%s}
same: TypeError: Cannot assign int to property Parents::$next of type %s
same: TypeError: Cannot assign stdClass to property Parents::$next of type %s
same: {%s}
same: TypeError: Cannot assign array to property Parents::$owner of type string
same: {%s}
same: TypeError: Cannot assign null to property Parents::$owner of type string
same: TypeError: Cannot assign float to property Parents::$either of type %s
same: {%s}
same: TypeError: Cannot assign null to property Parents::$either of type %s
same: TypeError: Cannot assign string to property Parents::$suit of type Suit
same: {%s}
same: TypeError: Cannot assign null to property Parents::$suit of type Suit
same: TypeError: Cannot assign int to property Parents::$shielded of type string
same: {%s}
same: TypeError: Cannot assign int to property Parents::$shielded of type string
same: {%s}
ours: TypeError: Cannot assign string to property Parents::$mine of type int
ours: {"rows":[],"n":1,"f":1.5,"b":true,"owner":"uninitialised","either":1,"suit":"H","many":null,"shielded":"s","mine":5,"unset":"uninitialised","free":null}
ours: {"rows":[],"n":1,"f":1.5,"b":true,"owner":"uninitialised","either":1,"suit":"H","many":null,"shielded":"s","mine":5,"unset":"uninitialised","free":null}
same: TypeError: Cannot assign int to property Parents::$unset of type ?string
same: {%s}
same: {%s}
same: {%s}
same: Creation of dynamic property Report::$dynamic is deprecated | {%s}
same: Creation of dynamic property Report::$dynamic is deprecated | TypeError: Cannot assign string to property Parents::$n of type int
same: TypeError: Cannot assign string to property Parents::$rows of type array
same: {%s}
same: Creation of dynamic property Report::$5 is deprecated | {%s}
same: Creation of dynamic property Report::$ is deprecated | {%s}
same: Creation of dynamic property Report::$nowhere is deprecated | {%s}
same: TypeError: Reference with value of type int held by property Parents::$n of type int is not compatible with property Parents::$f of type float
same: TypeError: Cannot assign float to property Parents::$either of type %s
{"rows":[],"n":5,"f":1.5,"b":true,"owner":"uninitialised","either":5,"suit":"H","many":null,"shielded":"s","mine":1,"unset":"uninitialised","free":5} TypeError: Cannot assign string to reference held by property Parents::$n of type int
{"rows":[],"n":1,"f":1.5,"b":true,"owner":"me","either":1,"suit":"H","many":null,"shielded":"s","mine":1,"unset":"uninitialised","free":"forger"}
Error: Cannot modify readonly property Parents::$owner
ErrorException: Creation of dynamic property Report::$dynamic is deprecated
{"rows":[],"n":3,"f":1.5,"b":true,"owner":"me","either":1,"suit":"H","many":null,"shielded":"s","mine":1,"unset":"uninitialised","free":null}
