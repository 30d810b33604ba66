<?php

namespace CeleryTests;

/**
 * A page's answer, and what PHP wrote to the web server's log meanwhile.
 */
final class FastCgiAnswer
{
    public int $status = 200;
    public string $body;
    public string $errors;

    public function __construct(string $output, string $errors)
    {
        [$headers, $this->body] = explode("\r\n\r\n", $output, 2) + ['', ''];
        $this->errors = $errors;
        if (preg_match('/^Status: (\d+)/mi', $headers, $found)) {
            $this->status = (int) $found[1];
        }
    }

    /**
     * Returns the JSON that a page printed. Throws any other answer.
     */
    public function told(): array
    {
        $told = json_decode($this->body, true);
        if ($this->status !== 200 || !is_array($told)) {
            throw new \RuntimeException("A page failed with status $this->status: $this->body $this->errors");
        }

        return $told;
    }
}
