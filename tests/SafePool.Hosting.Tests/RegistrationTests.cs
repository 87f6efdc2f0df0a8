using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Hosting.Tests;

public sealed class RegistrationTests
{
    private const string Text = "Host=localhost;Username=app;Password=secret";

    [Fact]
    public async Task AddSafePool_OneAndKeyedOnes_GivesEachByBothTypes()
    {
        var services = new ServiceCollection().AddLogging();
        services.AddSafePool(Text, options => options.MaxSize = 3);
        services.AddKeyedSafePool("reports", Text + ";Database=facts");
        services.AddKeyedSafePool("orders", Web.Configuration(("ConnectionString", Text), ("Name", "own"), ("MaxSize", "7")));

        await using var provider = services.BuildServiceProvider();

        var plain = provider.GetRequiredService<ConnectionPool>();
        Assert.Equal(("app", 3), (plain.Name, plain.GetSnapshot().MaxSize));
        Assert.Same(plain, provider.GetRequiredService<IConnectionPool>());
        Assert.Equal("reports", provider.GetRequiredKeyedService<ConnectionPool>("reports").Name);
        var orders = provider.GetRequiredKeyedService<IConnectionPool>("orders");
        Assert.Same(orders, provider.GetRequiredKeyedService<ConnectionPool>("orders"));
        Assert.Equal(("own", 7), (orders.Name, orders.GetSnapshot().MaxSize));
    }

    [Fact]
    public async Task AddSafePool_TheContainerEnds_ThePoolIsClosed()
    {
        var provider = new ServiceCollection().AddSafePool(Text).BuildServiceProvider();
        var pool = provider.GetRequiredService<ConnectionPool>();

        await provider.DisposeAsync();

        await Assert.ThrowsAsync<PoolClosedException>(() => pool.RentAsync(TestContext.Current.CancellationToken).AsTask());
    }

    [Fact]
    public void AddSafePool_Twice_SaysHowToHaveTwo()
    {
        var services = new ServiceCollection().AddSafePool(Text).AddKeyedSafePool("reports", Text);

        Assert.Contains("AddKeyedSafePool(\"reports\", …)", Assert.Throws<InvalidOperationException>(() => services.AddSafePool(Text)).Message, StringComparison.Ordinal);
        Assert.Contains("the key 'reports'", Assert.Throws<InvalidOperationException>(() => services.AddKeyedSafePool("reports", Text)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AddSafePool_ClockAndOptionsOfOthers_AreTakenFromTheContainer()
    {
        var clock = new ManualTimeProvider();
        var services = new ServiceCollection().AddSingleton<TimeProvider>(clock).AddSingleton(new Version(1, 9)).AddSafePool(Text);
        services.AddOptions<ConnectionPoolOptions>().Configure<Version>((options, version) => options.MaxSize = version.Minor);
        await using var provider = services.BuildServiceProvider();

        var pool = provider.GetRequiredService<ConnectionPool>();

        Assert.Equal(9, pool.GetSnapshot().MaxSize);
        Assert.Same(clock, pool.Parts.Time);
    }

    /// <summary>With a value of its own for every option that can be text.</summary>
    [Fact]
    public void AddSafePool_ASectionWithEveryOption_BindsEach()
    {
        var texts = Options(new ConnectionPoolOptions(), "").Where(option => option.Name != "ConnectionString")
            .Select((option, i) => (option.Name, Value: TextFor(option.Type, i + 1))).Append((Name: "ConnectionString", Value: Text)).ToArray();
        var options = Options(Unvalidated(texts), "").ToDictionary(option => option.Name, option => option.Value);

        Assert.All(texts, text => Assert.Equal(text.Value, TextOf(options[text.Name])));
        Assert.Equal(34, texts.Length);
    }

    [Fact]
    public async Task AddSafePool_AKeyThatIsNoOption_IsNamed()
    {
        await using var provider = new ServiceCollection().AddSafePool(Web.Configuration(("ConnectionString", Text), ("MaxSise", "7"))).BuildServiceProvider();

        var error = Assert.Throws<InvalidOperationException>(provider.GetRequiredService<ConnectionPool>);

        Assert.Contains("'MaxSise'", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.ToString(), StringComparison.Ordinal);
    }

    private static ConnectionPoolOptions Unvalidated((string Name, string Value)[] texts)
    {
        var services = new ServiceCollection().AddSafePool(Web.Configuration(texts));
        services.Remove(services.Single(service => service.ServiceType == typeof(IValidateOptions<ConnectionPoolOptions>) && service.ImplementationType is not null));
        using var provider = services.BuildServiceProvider();
        return provider.GetRequiredService<IOptionsFactory<ConnectionPoolOptions>>().Create("");
    }

    private static IEnumerable<(string Name, Type Type, object? Value)> Options(object options, string prefix)
        => options.GetType().GetProperties()
            .Where(property => !typeof(Delegate).IsAssignableFrom(property.PropertyType))
            .SelectMany(property => property.GetValue(options) is ISet<string> set ? [(prefix + property.Name + ":0", typeof(ISet<string>), set.FirstOrDefault())]
                : property.CanWrite ? [(prefix + property.Name, Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType, property.GetValue(options))]
                : Options(property.GetValue(options)!, prefix + property.Name + ":"));

    private static string TextFor(Type type, int i)
        => type == typeof(ISet<string>) ? "57P04"
            : type == typeof(TimeSpan) ? TimeSpan.FromSeconds(i).ToString()
            : type == typeof(bool) ? "True"
            : type.IsEnum ? Enum.GetNames(type)[^1]
            : type == typeof(double) ? "0.5"
            : i.ToString(CultureInfo.InvariantCulture);

    private static string? TextOf(object? value) => Convert.ToString(value, CultureInfo.InvariantCulture);
}
