<?php

namespace CeleryTests;

/**
 * The table of the example application, newly created.
 */
final class TasksTable
{
    private \PDO $database;

    public function __construct()
    {
        $this->database = Programs::database();
        $this->database->exec('DROP TABLE IF EXISTS tasks');
        $this->database->exec(
            'CREATE TABLE tasks (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL, '
            . "status VARCHAR(255) NOT NULL DEFAULT 'pending', message VARCHAR(255) NULL, "
            . 'created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)'
        );
    }

    /**
     * Inserts pending rows and returns their ids.
     *
     * @return list<int>
     */
    public function insert(int $rows): array
    {
        $ids = [];
        for ($n = 0; $n < $rows; $n++) {
            $this->database->exec("INSERT INTO tasks (name) VALUES ('row $n')");
            $ids[] = (int) $this->database->lastInsertId();
        }

        return $ids;
    }

    public function row(int $id): object
    {
        return $this->database->query("SELECT * FROM tasks WHERE id = $id")->fetch(\PDO::FETCH_OBJ);
    }

    public function count(string $status): int
    {
        return (int) $this->database->query("SELECT COUNT(*) FROM tasks WHERE status = '$status'")->fetchColumn();
    }
}
