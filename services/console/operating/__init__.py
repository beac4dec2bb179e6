"""The pages by which the suite is operated: what waits for somebody, money beside payments, prices, receivers, figures.

They are made of a few parts (`blocks`), which views make of messages (`views`), and which one template shows. A list
is a `Listing`: its page, its paging and its export are the same for all.
"""
