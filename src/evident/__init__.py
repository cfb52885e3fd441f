"""Visual explanations of convolutional networks: trained, explained, scored, compared."""

import os

# To be said before torch is imported. Threads that spin while they wait for each other slow a training twentyfold as
# soon as another process wants one of the cores; alone, sleeping costs a tenth or two.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
