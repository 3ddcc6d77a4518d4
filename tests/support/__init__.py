"""What tests share: scripted steps, servers on free ports, sites of their own."""
