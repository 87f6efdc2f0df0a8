namespace SafePool.EntityFrameworkCore.Tests.Shop;

/// <summary>The goods, people and sales that every shop begins with.</summary>
internal static class ShopData
{
    public const int Orders = 40;
    public const int Products = 12;

    public static void AddTo(ShopContext context)
    {
        string[] kinds = ["Tea", "Cheese", "Bread"];
        string[] countries = ["Norway", "Portugal"];
        Category[] categories = [.. kinds.Select(kind => new Category { Name = kind })];
        Supplier[] suppliers = [.. countries.Select(country => new Supplier { Company = $"{country} Farms", Country = country })];
        Product[] products =
        [
            .. Enumerable.Range(1, Products).Select(i => new Product
            {
                Name = $"{kinds[i % kinds.Length]} no. {i}",
                UnitPrice = 2.5m * i,
                InStock = 100,
                Category = categories[i % kinds.Length],
                Supplier = suppliers[i % countries.Length],
            }),
        ];
        Customer[] customers = [.. Enumerable.Range(1, 8).Select(i => new Customer { Company = $"Shop {i}", City = i % 2 == 0 ? "Bergen" : "Porto" })];
        var chief = new Employee { Name = "Ada" };
        Employee[] employees = [chief, new() { Name = "Ben", Manager = chief }, new() { Name = "Cleo", Manager = chief }];
        context.AddRange(Enumerable.Range(0, Orders).Select(i => new Order
        {
            PlacedOn = new DateOnly(2025, 1, 1).AddDays(i),
            Customer = customers[i % customers.Length],
            Employee = employees[i % employees.Length],
            Lines =
            [
                .. Enumerable.Range(0, 1 + (i % 3)).Select(k => products[(i + k) % Products])
                    .Select(product => new OrderLine { Product = product, Quantity = 1 + (i % 5), UnitPrice = product.UnitPrice }),
            ],
        }));
    }
}
