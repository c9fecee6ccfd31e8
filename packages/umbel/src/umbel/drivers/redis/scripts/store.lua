-- Write result documents and wake who waits for them.
-- uses: results
--
-- KEYS  the documents' keys, which are their channels too
-- ARGV  for each: document, life in ms or 0
-- Returns nothing
--
-- Invariant: SUCCESS is never overwritten.
for i, key in ipairs(KEYS) do store_record(key, ARGV[2 * i - 1], ARGV[2 * i]) end
