using Microsoft.Extensions.Options;
using Npgsql;
using SafePool.Options;
using Xunit;

namespace SafePool.Tests.Options;

/// <summary>Options as settings, as faults and as what Npgsql is told.</summary>
internal static class OptionsKit
{
    private const string Base = "Host=db;Database=orders;Username=app;Password=s3cret;";

    public static PoolSettings Settle(string keywords = "", Action<ConnectionPoolOptions>? configure = null)
        => ConnectionPoolOptionsValidator.Settle(Options(Base + keywords, configure));

    public static NpgsqlConnectionStringBuilder ForNpgsql(string keywords = "", Action<ConnectionPoolOptions>? configure = null)
        => new(Settle(keywords, configure).DataSourceString);

    public static IReadOnlyList<string> Faults(Action<ConnectionPoolOptions> configure) => Faults("", configure);

    public static IReadOnlyList<string> Faults(string keywords, Action<ConnectionPoolOptions>? configure = null)
        => FaultsOf(Base + keywords, configure);

    public static IReadOnlyList<string> FaultsOf(string connectionString, Action<ConnectionPoolOptions>? configure = null)
    {
        var options = Options(connectionString, configure);
        var error = Assert.Throws<OptionsValidationException>(() => ConnectionPoolOptionsValidator.Settle(options));
        var result = new ConnectionPoolOptionsValidator().Validate(name: null, options);
        Assert.Equal(error.Failures, result.Failures);
        Assert.DoesNotContain("s3cret", error.ToString(), StringComparison.Ordinal);
        return [.. error.Failures];
    }

    private static ConnectionPoolOptions Options(string connectionString, Action<ConnectionPoolOptions>? configure)
    {
        var options = new ConnectionPoolOptions { ConnectionString = connectionString };
        configure?.Invoke(options);
        return options;
    }
}
