-- On which of a night's devices a trial ran: several of them may train at a time.

ALTER TABLE trials ADD COLUMN device TEXT CHECK (device <> ''); -- `cpu`, `cpu:1`, `cuda:0`; none of a trial before this was recorded
