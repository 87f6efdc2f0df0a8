namespace SafePool.EntityFrameworkCore.Tests.Shop;

/// <summary>A kind of goods.</summary>
public sealed class Category
{
    public int Id { get; set; }

    public required string Name { get; set; }

    public ICollection<Product> Products { get; } = [];
}

/// <summary>Who delivers goods to the shop.</summary>
public sealed class Supplier
{
    public int Id { get; set; }

    public required string Company { get; set; }

    public required string Country { get; set; }

    public ICollection<Product> Products { get; } = [];
}

/// <summary>What the shop sells.</summary>
public sealed class Product
{
    public int Id { get; set; }

    public required string Name { get; set; }

    public decimal UnitPrice { get; set; }

    public int InStock { get; set; }

    public int CategoryId { get; set; }

    public Category? Category { get; set; }

    public int SupplierId { get; set; }

    public Supplier? Supplier { get; set; }
}

/// <summary>Who buys.</summary>
public sealed class Customer
{
    public int Id { get; set; }

    public required string Company { get; set; }

    public required string City { get; set; }

    public ICollection<Order> Orders { get; } = [];
}

/// <summary>Who sells, and to whom he or she reports.</summary>
public sealed class Employee
{
    public int Id { get; set; }

    public required string Name { get; set; }

    public int? ManagerId { get; set; }

    public Employee? Manager { get; set; }

    public ICollection<Order> Orders { get; } = [];
}

/// <summary>A sale.</summary>
public sealed class Order
{
    public int Id { get; set; }

    public DateOnly PlacedOn { get; set; }

    public int CustomerId { get; set; }

    public Customer? Customer { get; set; }

    public int EmployeeId { get; set; }

    public Employee? Employee { get; set; }

    public ICollection<OrderLine> Lines { get; init; } = [];
}

/// <summary>One product of an order.</summary>
public sealed class OrderLine
{
    public int OrderId { get; set; }

    public Order? Order { get; set; }

    public int ProductId { get; set; }

    public Product? Product { get; set; }

    public int Quantity { get; set; }

    public decimal UnitPrice { get; set; }
}
