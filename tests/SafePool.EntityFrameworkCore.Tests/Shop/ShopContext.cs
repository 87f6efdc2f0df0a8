using Microsoft.EntityFrameworkCore;

namespace SafePool.EntityFrameworkCore.Tests.Shop;

/// <summary>A wholesale shop, in the manner of the well-known samples.</summary>
public class ShopContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Category> Categories => Set<Category>();

    public DbSet<Supplier> Suppliers => Set<Supplier>();

    public DbSet<Product> Products => Set<Product>();

    public DbSet<Customer> Customers => Set<Customer>();

    public DbSet<Employee> Employees => Set<Employee>();

    public DbSet<Order> Orders => Set<Order>();

    public DbSet<OrderLine> Lines => Set<OrderLine>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<OrderLine>().HasKey(line => new { line.OrderId, line.ProductId });
        modelBuilder.Entity<Product>().HasIndex(product => product.Name).IsUnique();
    }
}
