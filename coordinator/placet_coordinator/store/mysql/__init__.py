"""The store on MariaDB and MySQL, by asyncmy."""
