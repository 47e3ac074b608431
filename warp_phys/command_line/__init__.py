"""The command line `warp-phys`: each verb is one public function.

Comes in: text.
Goes out: files, tables and exit codes.
"""
