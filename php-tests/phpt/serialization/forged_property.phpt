--TEST--
A forged result cannot make the autoloader look for a class; a subclass keeps its own private properties
--EXTENSIONS--
celery
--FILE--
<?php
require __DIR__ . '/../support.inc';
class Base extends AsyncResult
{
    private string $mine = 'unset';
    protected int $shared = 0;

    public function __construct(string $id, private readonly string $once = 'unset')
    {
        parent::__construct($id, arguments());
        [$this->mine, $this->shared] = ['set', 7];
    }

    public function all(): string
    {
        return "$this->mine $this->shared $this->once";
    }
}
class Child extends Base
{
    private string $mine = 'of the child';
}
spl_autoload_register(function (string $class) {
    echo "looked for $class\n";
});
echo unserialize(serialize(new Child('id', 'once')))->all(), "\n";
$forged = fn (string $class) => 'O:11:"AsyncResult":3:{s:7:"version";i:1;s:2:"id";s:1:"x";s:10:"properties";a:1:{'
    . serialize("\0$class\0name") . 'i:1;}}';
show(fn () => unserialize($forged('Elsewhere'), ['allowed_classes' => ['AsyncResult']]));
show(fn () => unserialize($forged('Base'), ['allowed_classes' => ['AsyncResult']]));
show(fn () => unserialize($forged(''), ['allowed_classes' => ['AsyncResult']]));
?>
--EXPECT--
set 7 once
CeleryException: This is not a stored AsyncResult: it has a private property of another class.
CeleryException: This is not a stored AsyncResult: it has a private property of another class.
CeleryException: This is not a stored AsyncResult: it has a private property of another class.
