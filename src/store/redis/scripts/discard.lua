-- Gives the view up (Body::Discard): without its meta hash it is no view, and the next owner folds the
-- logs anew. A removal, so a full Redis does it too.

call('DEL', META)
return 1
