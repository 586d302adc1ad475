import sys

from infra.plan.command import main

sys.exit(main())
