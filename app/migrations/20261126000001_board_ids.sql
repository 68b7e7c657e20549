-- Board ids that were used up are given back: until now each start of a pod took one from the sequence for every
-- board that is configured, whether it was there or not, and 32,767 is the last. The next id is again the one after
-- the highest that a board has.
--
-- The lock is the one that `triptych migrate` holds while it makes boards, in the release before too. So an id that is
-- taken and not committed yet is waited for; and the second statement sees it, because it begins after the wait.
select version from site_state for update;

select setval(pg_get_serial_sequence('board', 'id'), coalesce(max(id), 1), max(id) is not null) from board;
