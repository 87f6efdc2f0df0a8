using System.Globalization;
using Microsoft.AspNetCore.Diagnostics;

namespace SafePool.Samples.OrdersApi;

/// <summary>No connection is "come back later", not "broken": 503, at once, with the time to wait where the pool knows it. Whose fault it is, is for the log.</summary>
internal sealed partial class PoolFailureHandler(IProblemDetailsService problems, ILogger<PoolFailureHandler> logger) : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        // EF Core wraps what it cannot retry.
        if ((exception as PoolException ?? exception.InnerException as PoolException) is not { } failure)
        {
            return false;
        }

        LogFailure(logger, failure.Message);
        httpContext.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
        if (RetryAfter(failure) is { } pause)
        {
            httpContext.Response.Headers.RetryAfter = Math.Ceiling(pause.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        }

        await problems.TryWriteAsync(new ProblemDetailsContext { HttpContext = httpContext, ProblemDetails = { Title = "No database connection" } });
        return true;
    }

    private static TimeSpan? RetryAfter(PoolException failure) => failure switch
    {
        PoolExhaustedException exhausted => exhausted.RetryAfter,
        CircuitOpenException open => open.RetryAfter,
        _ => null,
    };

    [LoggerMessage(Level = LogLevel.Error, Message = "{Report}")]
    private static partial void LogFailure(ILogger logger, string report);
}
