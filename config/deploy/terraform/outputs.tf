output "address" {
  description = "Where miners connect: port 34254 for Stratum V2, 3333 for Stratum V1."
  value       = hcloud_server.this.ipv4_address
}
