"""The programs' doors: OpenAI's interface and its relatives, each a translation to one request and its events."""
