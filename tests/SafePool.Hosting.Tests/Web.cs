using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using SafePool.TestKit;

namespace SafePool.Hosting.Tests;

/// <summary>A web service of a test's own.</summary>
internal static class Web
{
    public static WebApplicationBuilder CreateBuilder(LogCollector? log = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        if (log is not null)
        {
            builder.Services.AddSingleton<ILoggerFactory>(log);
        }

        return builder;
    }

    public static async Task<string> ServerAsync()
    {
        await using var database = await TestDatabase.AcquireAsync();
        return database.ConnectionString;
    }

    /// <summary>A configuration that can be changed, as a file can.</summary>
    public static IConfigurationRoot Configuration(params (string Key, string Value)[] values)
        => new ConfigurationBuilder().AddInMemoryCollection(values.Select(value => KeyValuePair.Create(value.Key, (string?)value.Value))).Build();

    public static HttpClient Client(WebApplication service) => new() { BaseAddress = new Uri(service.Urls.First()) };
}
