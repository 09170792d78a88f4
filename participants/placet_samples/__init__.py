"""Two small services that use the SDK as an application of your own would: start copying here.

`bank` keeps accounts and offers TCC and saga actions; `shop` keeps stock and starts transactions of both kinds. They
import `placet` and nothing else of this project. Run one with `python -m placet_samples bank`, see `--help`.
"""
