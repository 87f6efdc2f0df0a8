using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.DependencyInjection;

namespace SafePool.EntityFrameworkCore;

/// <summary>Lets the interceptor that rents run after all others, whenever these were added: one of them may give the connection another string, and must find it closed.</summary>
/// <remarks>Where the user brings EF Core's services himself (<c>UseInternalServiceProvider</c>) nothing is changed: there the order is that of <c>AddInterceptors</c>.</remarks>
internal sealed class LastInterceptorExtension : IDbContextOptionsExtension
{
    public DbContextOptionsExtensionInfo Info => field ??= new ExtensionInfo(this);

    public void ApplyServices(IServiceCollection services)
    {
        for (var i = 0; i < services.Count; i++)
        {
            var service = services[i];
            if (service.ServiceType == typeof(IInterceptorAggregator)
                && service.ImplementationType is { } type
                && type.IsAssignableTo(typeof(InterceptorAggregator<IDbConnectionInterceptor>)))
            {
                services[i] = ServiceDescriptor.Describe(
                    typeof(IInterceptorAggregator),
                    provider => new LastInterceptorAggregator((IInterceptorAggregator)ActivatorUtilities.CreateInstance(provider, type)),
                    service.Lifetime);
            }
        }
    }

    public void Validate(IDbContextOptions options)
    {
    }

    private sealed class LastInterceptorAggregator(IInterceptorAggregator aggregator) : IInterceptorAggregator
    {
        public Type InterceptorType => aggregator.InterceptorType;

        public IInterceptor? AggregateInterceptors(IReadOnlyList<IInterceptor> interceptors)
            => aggregator.AggregateInterceptors([.. interceptors.OrderBy(interceptor => interceptor is LeaseInterceptor)]);
    }

    private sealed class ExtensionInfo(IDbContextOptionsExtension extension) : DbContextOptionsExtensionInfo(extension)
    {
        public override bool IsDatabaseProvider => false;

        public override string LogFragment => "using SafePool ";

        public override int GetServiceProviderHashCode() => 0;

        public override bool ShouldUseSameServiceProvider(DbContextOptionsExtensionInfo other) => other is ExtensionInfo;

        public override void PopulateDebugInfo(IDictionary<string, string> debugInfo) => debugInfo["SafePool"] = "1";
    }
}
