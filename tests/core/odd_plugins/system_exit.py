"""It calls sys.exit() at import, as scripts do."""

import sys

sys.exit("no licence on this machine")
