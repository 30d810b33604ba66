<?php

namespace CeleryTests;

/**
 * The actions of a person with a browser, cookies and a form, over plain HTTP.
 */
final class Browser
{
    private string $url;
    private array $cookies = [];
    public int $status = 0;

    public function __construct(string $url)
    {
        $this->url = $url;
    }

    public function get(): string
    {
        return $this->request('GET');
    }

    /**
     * Sends the page's form and follows the redirect.
     */
    public function create(string $name): string
    {
        if (!preg_match('/name="_token" value="([^"]+)"/', $this->get(), $token)) {
            throw new \RuntimeException('the page has no form');
        }

        return $this->request('POST', http_build_query(['_token' => $token[1], 'name' => $name]));
    }

    /**
     * Sends fields to the address without the token of a form. Returns the status of the answer.
     *
     * @param array<string, string> $fields
     */
    public function send(array $fields): int
    {
        $this->request('POST', http_build_query($fields));

        return $this->status;
    }

    /**
     * Returns the rows of the page's table: id, name, status, message.
     *
     * @return list<array{string, string, string, string}>
     */
    public static function rows(string $html): array
    {
        $document = new \DOMDocument();
        $document->loadHTML('<?xml encoding="utf-8"?>' . $html, LIBXML_NOERROR);
        $rows = [];
        foreach ((new \DOMXPath($document))->query('//tbody/tr[td[4]]') as $row) {
            $cells = [];
            foreach ($row->getElementsByTagName('td') as $cell) {
                $cells[] = trim($cell->textContent);
            }
            $rows[] = $cells;
        }

        return $rows;
    }

    private function request(string $method, string $body = ''): string
    {
        $cookies = http_build_query($this->cookies, '', '; ');
        $context = stream_context_create(['http' => [
            'method' => $method,
            'header' => "Cookie: $cookies\r\nContent-Type: application/x-www-form-urlencoded",
            'content' => $body,
            'timeout' => 30,
            'ignore_errors' => true,
            'follow_location' => 0,
        ]]);
        $html = file_get_contents($this->url, false, $context);
        foreach ($http_response_header as $line) {
            if (preg_match('/^HTTP\S+ (\d+)/', $line, $found)) {
                $this->status = (int) $found[1];
            } elseif (preg_match('/^Set-Cookie: ([^=]+)=([^;]*)/i', $line, $found)) {
                $this->cookies[$found[1]] = urldecode($found[2]);
            }
        }

        return $this->status === 302 ? $this->get() : $html;
    }
}
