-- What people see of resting and quarantined messages. What a release before this one set aside
-- names neither its worker nor the class of its error.

-- Why it must wait, where its own time is not the reason.
ALTER TABLE umbel_resting ADD COLUMN why TEXT;

ALTER TABLE umbel_quarantine ADD COLUMN error TEXT;
ALTER TABLE umbel_quarantine ADD COLUMN worker TEXT;
CREATE INDEX umbel_quarantine_order ON umbel_quarantine (queue, at, id);
